"""Writing a volume to files of several formats that place it in the same world."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mmlandmark.datasets.readers.volume import need
from mmlandmark.structures import spacing_of, swap_lps_ras


def write_nifti(path: str | Path, array: np.ndarray, world: np.ndarray) -> Path:
    """Write a NIfTI file.

    Args:
        path: ``.nii`` or ``.nii.gz``.
        array: (*S) voxels.
        world: (4, 4) voxels to mm in LPS.
    """
    path = Path(path)
    nibabel = need("nibabel", path)
    image = nibabel.Nifti1Image(array.transpose(), swap_lps_ras(world))
    image.header.set_xyzt_units("mm")
    nibabel.save(image, path)
    return path


def write_itk(path: str | Path, array: np.ndarray, world: np.ndarray) -> Path:
    """Write a NRRD or MetaImage, by the suffix; see :func:`write_nifti`."""
    path = Path(path)
    sitk = need("SimpleITK", path)
    image = sitk.GetImageFromArray(np.ascontiguousarray(array))
    spacing = spacing_of(world)
    image.SetSpacing(spacing)
    image.SetOrigin(world[:3, 3].tolist())
    image.SetDirection((world[:3, :3] / spacing).ravel().tolist())
    sitk.WriteImage(image, str(path))
    return path


def write_dicom_series(
    folder: str | Path,
    array: np.ndarray,
    world: np.ndarray,
    *,
    names: Sequence[str] | None = None,
    slope: float = 1.0,
    intercept: float = 0.0,
) -> Path:
    """Write a folder of DICOM slices.

    Args:
        folder: Made if it does not exist.
        array: (*S) stored values, of 8 or 16 bits.
        world: (4, 4) voxels to mm in LPS.
        names: File name of every slice; by default they are numbered from the last slice to the first, so
            that nobody relies on the order of names.
        slope: Rescale slope, stored with the values.
        intercept: Rescale intercept, stored with the values.
    """
    folder = Path(folder)
    pydicom = need("pydicom", folder)
    folder.mkdir(parents=True, exist_ok=True)
    series = pydicom.uid.generate_uid(entropy_srcs=[str(folder), repr(array.shape)])
    spacing = spacing_of(world)
    if names is None:
        names = [f"{len(array) - n:05d}.dcm" for n in range(len(array))]
    for index, (name, pixels) in enumerate(zip(names, array, strict=True)):
        meta = pydicom.dataset.FileMetaDataset()
        meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
        meta.MediaStorageSOPClassUID = pydicom.uid.CTImageStorage
        meta.MediaStorageSOPInstanceUID = f"{series[:56]}.{index + 1}"
        data = pydicom.dataset.FileDataset(str(folder / name), {}, file_meta=meta, preamble=b"\0" * 128)
        data.SOPClassUID, data.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
        data.SeriesInstanceUID, data.InstanceNumber = series, index + 1
        data.Rows, data.Columns = pixels.shape
        bits = 8 * pixels.dtype.itemsize
        data.SamplesPerPixel, data.BitsAllocated, data.BitsStored, data.HighBit = 1, bits, bits, bits - 1
        data.PixelRepresentation = int(pixels.dtype.kind == "i")
        data.PhotometricInterpretation = "MONOCHROME2"
        data.PixelSpacing = [_text(spacing[1]), _text(spacing[0])]
        data.ImageOrientationPatient = [_text(c) for c in (world[:3, :2] / spacing[:2]).T.ravel()]
        data.ImagePositionPatient = [_text(c) for c in (world @ [0, 0, index, 1])[:3]]
        data.RescaleSlope, data.RescaleIntercept = _text(slope), _text(intercept)
        data.PixelData = np.ascontiguousarray(pixels).astype(pixels.dtype.newbyteorder("<")).tobytes()
        data.save_as(folder / name, enforce_file_format=True)
    return folder


def _text(number: float) -> str:
    """Return a number as DICOM writes it, in at most 16 characters."""
    return next(text for digits in range(16, 0, -1) if len(text := f"{number:.{digits}g}") <= 16)
