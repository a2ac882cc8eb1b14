"""What the NVIDIA driver of this node says, in a second; asked directly, because not every
environment has a package for it.
"""

import ctypes
from typing import Any

from mindtune.cli import UserError

NVML = "libnvidia-ml.so.1"


def read_nvml() -> dict[str, Any]:
    """The driver's version, the newest CUDA it knows as (major, minor), and the names of its
    cards.
    """
    try:
        nvml = ctypes.CDLL(NVML)
    except OSError as error:
        raise UserError(
            f"this node has no NVIDIA driver ({error}); run this on a GPU node"
        ) from None
    call(nvml, "nvmlInit_v2")
    text, number = ctypes.create_string_buffer(96), ctypes.c_int()
    call(nvml, "nvmlSystemGetDriverVersion", text, len(text))
    driver = text.value.decode()
    call(nvml, "nvmlSystemGetCudaDriverVersion_v2", ctypes.byref(number))
    cuda = (number.value // 1000, number.value % 1000 // 10)
    call(nvml, "nvmlDeviceGetCount_v2", ctypes.byref(number))
    names = []
    for index in range(number.value):
        card = ctypes.c_void_p()
        call(nvml, "nvmlDeviceGetHandleByIndex_v2", index, ctypes.byref(card))
        call(nvml, "nvmlDeviceGetName", card, text, len(text))
        names.append(text.value.decode())
    call(nvml, "nvmlShutdown")
    return {"driver": driver, "cuda": cuda, "names": names}


def call(nvml: ctypes.CDLL, name: str, *arguments: Any) -> None:
    """Call a function of NVML; a UserError with NVML's own words if it fails."""
    status = getattr(nvml, name)(*arguments)
    if status:
        nvml.nvmlErrorString.restype = ctypes.c_char_p
        words = nvml.nvmlErrorString(status).decode()
        raise UserError(
            f"the NVIDIA driver of this node answers {name} with: {words}; run this on another GPU "
            f"node"
        )
