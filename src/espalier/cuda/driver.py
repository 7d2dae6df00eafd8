"""The driver behind every GPU call: each return code checked, each failure said in our words.

Nothing here runs at import; the driver is looked for when the first device is asked for.
"""

from __future__ import annotations

from typing import Any

from espalier.cuda.compiler import nvrtc_version
from espalier.errors import DeviceError, DeviceMemoryError, MissingExtraError

_OUT_OF_MEMORY = "CUDA_ERROR_OUT_OF_MEMORY"
_FIXES = {
    "CUDA_ERROR_NO_DEVICE": "no NVIDIA GPU is visible; is CUDA_VISIBLE_DEVICES empty?",
    "CUDA_ERROR_SYSTEM_DRIVER_MISMATCH": "the driver was updated since the machine started; "
    "restart it",
    "CUDA_ERROR_NO_BINARY_FOR_GPU": "the installed NVRTC is too old for this GPU; "
    "pip install --upgrade nvidia-cuda-nvrtc",
    "CUDA_ERROR_ILLEGAL_ADDRESS": "a kernel read or wrote outside its memory, which is a fault of "
    "espalier or of another library in this process; please report it",
}


class Driver:
    """The CUDA driver, by the functions of `cuda.bindings.driver`.

    Arguments:
        api: the module, or what stands in for it in a test.

    Raises:
        DeviceError: there is no driver, no GPU, or the driver is too old for the compiler.
    """

    def __init__(self, api: Any) -> None:
        self.api = api
        try:
            self.call("cuInit", 0)
        except DeviceError:
            raise
        except Exception as error:  # a missing library has another class in every version
            raise DeviceError(
                "no NVIDIA driver was found (libcuda.so.1): install the driver, or leave out "
                f"device='cuda' to run on the CPU. The search says: {error}"
            ) from error
        self._check_version()

    @classmethod
    def load(cls) -> Driver:
        """The driver of this machine."""
        try:
            from cuda.bindings import driver
        except ImportError as error:
            raise MissingExtraError("cuda-bindings", "gpu", "running on a GPU") from error
        return cls(driver)

    def call(self, function: str, *arguments: Any) -> Any:
        """Call a driver function: nothing, its one value, or a tuple of its values.

        Raises:
            DeviceMemoryError: the GPU's memory is used up. DeviceError: any other failure.
        """
        code, *values = getattr(self.api, function)(*arguments)
        if int(code) != 0:
            name = getattr(code, "name", str(code))
            if name == _OUT_OF_MEMORY:
                raise DeviceMemoryError(f"{function}: the GPU's memory is used up")
            raise DeviceError(
                f"{function} failed with {name}: {_FIXES.get(name, 'see its manual')}"
            )
        if len(values) == 1:
            return values[0]
        return tuple(values) or None

    def attribute(self, kind: str, name: str) -> Any:
        """A constant of the driver, such as ``attribute("CUdevice_attribute", "...")``."""
        return getattr(getattr(self.api, kind), name)

    def _check_version(self) -> None:
        version, compiler = int(self.call("cuDriverGetVersion")), nvrtc_version()
        major, minor = version // 1000, version % 1000 // 10
        if major < compiler[0]:
            raise DeviceError(
                f"the driver is for CUDA {major}.{minor}, older than the compiler (NVRTC "
                f"{compiler[0]}.{compiler[1]}): update the driver, or run: pip install "
                f"'cuda-bindings=={major}.*' nvidia-cuda-nvrtc-cu{major}"
            )
