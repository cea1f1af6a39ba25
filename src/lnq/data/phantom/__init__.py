"""The synthetic thorax: a dataset with known nodes, for trying everything without patient data."""

from lnq.data.phantom.annotation import AnnotationPolicy, LargestNodes, RandomNodes, VolumeShare
from lnq.data.phantom.dataset import PhantomDataset
from lnq.data.phantom.phantom_case import PhantomCase, make_case

__all__ = [
    "AnnotationPolicy",
    "LargestNodes",
    "PhantomCase",
    "PhantomDataset",
    "RandomNodes",
    "VolumeShare",
    "make_case",
]
