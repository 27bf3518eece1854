"""DICOM files made by the tests: any grey or colour image with any header, by pydicom."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filewriter import dcmwrite
from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage, generate_uid

PATIENT = "Unbekannt^Known^To^This^Test"


def dataset_of(values: np.ndarray, bits: int | None = None, **header: Any) -> Dataset:
    """A secondary capture, (H, W) or (H, W, 3) of 8 or 16 bits, of which `bits` are stored; native little endian."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    dataset.PatientName = PATIENT
    dataset.PatientID = "4711-0815"
    dataset.PatientBirthDate = "19500101"
    dataset.Rows, dataset.Columns = values.shape[:2]
    dataset.SamplesPerPixel = 3 if values.ndim == 3 else 1
    dataset.PhotometricInterpretation = "RGB" if values.ndim == 3 else "MONOCHROME2"
    if values.ndim == 3:
        dataset.PlanarConfiguration = 0
    dataset.BitsAllocated = 8 * values.dtype.itemsize
    dataset.BitsStored = bits or dataset.BitsAllocated
    dataset.HighBit = dataset.BitsStored - 1
    dataset.PixelRepresentation = int(values.dtype.kind == "i")
    dataset.PixelData = values.tobytes() + b"\0" * (values.nbytes % 2)
    dataset["PixelData"].VR = "OW" if values.dtype.itemsize == 2 else "OB"
    for name, value in header.items():
        setattr(dataset, name, value)
    return dataset


def written(dataset: Dataset) -> bytes:
    out = io.BytesIO()
    dcmwrite(out, dataset, enforce_file_format=True)
    return out.getvalue()


def dicom(values: np.ndarray, bits: int | None = None, **header: Any) -> bytes:
    """The bytes of such a file."""
    return written(dataset_of(values, bits, **header))


def film_dicom(image: np.ndarray, **header: Any) -> bytes:
    """A digitised film, (H, W) uint8, as 12-bit values in a DICOM file that says it is a mammogram."""
    told = {"Modality": "MG", "ConversionType": "DF", "PixelSpacing": [0.2, 0.2], **header}
    return dicom(image.astype(np.uint16) * 16, 12, **told)
