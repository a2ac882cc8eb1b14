"""Where a program that loads a model itself computes: its flags, and what torch is told."""

import argparse

from mindtune.cli import UserError
from mindtune.preflight import check_driver


def add_device(parser: argparse.ArgumentParser) -> None:
    """Flags of a program that computes on a CPU or on one card."""
    parser.add_argument("--device", required=True, choices=["cpu", "gpu"])
    parser.add_argument("--threads", type=int, default=1, help="threads of torch")


def prepare(args: argparse.Namespace) -> None:
    """A UserError, before torch is loaded, if a card is wanted and no driver has one; then torch's
    number of threads.
    """
    if args.device == "gpu":
        check_driver(1)
    import torch

    torch.set_num_threads(args.threads)


def torch_device(device: str) -> str:
    """What torch calls the device cpu or gpu; a UserError for a card that it does not see."""
    import torch

    if device == "gpu" and not torch.cuda.is_available():
        raise UserError(
            "--device is gpu, but torch finds no CUDA device on this node; run on a GPU node, or "
            "set device to cpu"
        )
    return "cuda" if device == "gpu" else "cpu"
