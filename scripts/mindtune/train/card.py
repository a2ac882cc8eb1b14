"""A GPU while it trains: its use and energy through NVML, and the FLOP that a step takes."""

from typing import Any

# bf16 without sparsity, FLOP/s, from NVIDIA's data sheets; a card that is not here has no MFU
PEAK_FLOPS = {
    "H100 PCIe": 756e12,
    "H100": 989e12,
    "H200": 989e12,
    "H800": 989e12,
    "A100": 312e12,
    "A800": 312e12,
}


def training_flops(parameters: int, tokens: int, recompute: bool, frozen: bool) -> float:
    """FLOP of a training: 2N a token forward, 2N for the activations' gradients, 2N for the
    weights' own unless they are frozen, and 2N more if the forward pass is recomputed.

    N counts the weights that tokens are multiplied with (no input embeddings); attention's own
    products are left out.
    """
    return (4 + 2 * recompute + 2 * (not frozen)) * parameters * tokens


class Card:
    """One GPU through NVML: utilisation, power and energy; without a GPU every reading is
    absent.
    """

    def __init__(self) -> None:
        import torch

        self.handle = None
        if torch.cuda.is_available():
            import pynvml

            pynvml.nvmlInit()
            self.nvml = pynvml
            self.handle = pynvml.nvmlDeviceGetHandleByUUID(
                f"GPU-{torch.cuda.get_device_properties(0).uuid}"
            )
            self.name = torch.cuda.get_device_name(0)
            self.peak = next(
                (flops for name, flops in PEAK_FLOPS.items() if name in self.name), None
            )

    def joules(self) -> float | None:
        """Energy since the driver was loaded."""
        return (
            self.nvml.nvmlDeviceGetTotalEnergyConsumption(self.handle) / 1000
            if self.handle
            else None
        )

    def reading(self, joules: float) -> dict[str, Any]:
        """Energy as given, peak memory, and the share of the last sampling period in which a
        kernel ran.
        """
        import torch

        return {
            "joules": joules,
            "memory_gib": torch.cuda.max_memory_reserved() / 2**30,
            "gpu_percent": self.nvml.nvmlDeviceGetUtilizationRates(self.handle).gpu,
        }
