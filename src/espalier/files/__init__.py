"""Reading and writing networks, inputs and category lists."""

from espalier.files.categories import load_categories, save_categories
from espalier.files.idx import load_images, load_labels
from espalier.files.inputs import load_inputs
from espalier.files.load_save import convert, load, save

__all__ = [
    "convert",
    "load",
    "load_categories",
    "load_images",
    "load_inputs",
    "load_labels",
    "save",
    "save_categories",
]
