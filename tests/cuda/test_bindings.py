"""What we give the driver's bindings is what they take, and what the stand-in takes they have."""

from __future__ import annotations

import ctypes
import inspect
from typing import Any

import pytest

from tests.support.fake_cuda import FakeCuda

driver: Any = pytest.importorskip("cuda.bindings.driver")

ATTRIBUTE = "CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR"
SHARED = "CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES"
ORDINAL = "CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL"
POINTERS = (ctypes.c_void_p * 1)()
CALLS: dict[str, tuple[Any, ...]] = {
    "cuInit": (0,),
    "cuDriverGetVersion": (),
    "cuDeviceGetCount": (),
    "cuDeviceGet": (0,),
    "cuDeviceGetName": (256, driver.CUdevice(0)),
    "cuDeviceGetAttribute": (
        getattr(driver.CUdevice_attribute, ATTRIBUTE),
        driver.CUdevice(0),
    ),
    "cuDevicePrimaryCtxRetain": (driver.CUdevice(0),),
    "cuCtxPushCurrent": (driver.CUcontext(),),
    "cuCtxPopCurrent": (),
    "cuMemGetInfo": (),
    "cuMemAlloc": (100,),
    "cuMemFree": (driver.CUdeviceptr(256),),
    "cuMemHostAlloc": (4, 0),
    "cuMemFreeHost": (512,),
    "cuMemcpyHtoDAsync": (256, 512, 4, 7),
    "cuMemcpyDtoHAsync": (512, 256, 4, 7),
    "cuMemcpyDtoDAsync": (256, 512, 4, 7),
    "cuMemsetD8Async": (256, 0, 4, 7),
    "cuPointerGetAttribute": (getattr(driver.CUpointer_attribute, ORDINAL), 256),
    "cuStreamCreate": (1,),
    "cuStreamSynchronize": (7,),
    "cuStreamWaitEvent": (7, driver.CUevent(), 0),
    "cuEventCreate": (0,),
    "cuEventDestroy": (driver.CUevent(),),
    "cuEventRecord": (driver.CUevent(), 7),
    "cuEventQuery": (driver.CUevent(),),
    "cuEventElapsedTime": (driver.CUevent(), driver.CUevent()),
    "cuModuleLoadData": (512,),
    "cuModuleGetFunction": (driver.CUmodule(), b"rows_64"),
    "cuFuncSetAttribute": (
        driver.CUfunction(),
        getattr(driver.CUfunction_attribute, SHARED),
        100_000,
    ),
    "cuLaunchKernel": (
        driver.CUfunction(),
        *(4, 2, 1),
        *(256, 1, 1),
        *(0, 7, ctypes.addressof(POINTERS), 0),
    ),
}


def test_every_function_of_the_stand_in_is_tried() -> None:
    names = {name for name, _ in inspect.getmembers(FakeCuda) if name.startswith("cu")}
    assert names == set(CALLS)


@pytest.mark.parametrize("name", CALLS)
def test_bindings_take_our_arguments(name: str) -> None:
    """Without a driver the bindings convert the arguments, then fail to find it."""
    try:
        driver.cuInit(0)
    except Exception as error:
        without_driver: type[BaseException] = type(error)
    else:
        pytest.skip("there is a driver, which must not be called with such arguments")
    with pytest.raises(without_driver):
        getattr(driver, name)(*CALLS[name])
    with pytest.raises(TypeError):
        getattr(driver, name)(*CALLS[name], "one too many")
