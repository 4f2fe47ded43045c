"""Writers of one picture or volume in every format, for tests of the readers.

Spacing is (x, y). ``world`` is the matrix to mm in LPS: (4, 4) of a volume, (4, 3) of a slice, (3, 3) of an
image in its own plane.
"""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from mmlandmark.datasets.transforms import LoadImage, PackInputs
from mmlandmark.structures import swap_lps_ras, world_matrix


def write_cv(path, array, spacing):
    """Write by OpenCV."""
    assert cv2.imwrite(str(path), array, [cv2.IMWRITE_JPEG_QUALITY, 100])


def write_npy(path, array, spacing):
    """Write a NumPy array."""
    np.save(path, array)


def write_sitk(path, array, spacing, world=None, compress=False):
    """Write a MetaImage or NRRD."""
    sitk = pytest.importorskip("SimpleITK")
    image = sitk.GetImageFromArray(array)
    if world is None:
        image.SetSpacing([float(s) for s in spacing])
    else:
        steps = np.linalg.norm(world[:-1, :-1], axis=0)
        image.SetSpacing(steps.tolist())
        image.SetOrigin(world[:-1, -1].tolist())
        image.SetDirection((world[:-1, :-1] / steps).ravel().tolist())
    sitk.WriteImage(image, str(path), compress)


def write_nrrd_in(space, path, array, world):
    """Write a NRRD by hand whose world has other axes than LPS: ``right-anterior-superior``, ..."""
    signs = [-1 if axis in space else 1 for axis in ("right", "anterior", "inferior")]
    there = np.diag([*signs, 1]) @ world
    vectors = " ".join(f"({','.join(repr(float(c)) for c in there[:3, axis])})" for axis in range(3))
    kind = {"f": "float", "u": "uint16"}[array.dtype.kind]
    header = (
        f"NRRD0005\ntype: {kind}\ndimension: 3\nspace: {space}\n"
        f"sizes: {' '.join(str(n) for n in array.shape[::-1])}\nspace directions: {vectors}\n"
        f"kinds: domain domain domain\nendian: little\nencoding: raw\n"
        f"space origin: ({','.join(repr(float(c)) for c in there[:3, 3])})\n\n"
    )
    path.write_bytes(header.encode() + array.astype("<f4" if kind == "float" else "<u2").tobytes())


def write_nifti(path, array, spacing, world=None, by="sform"):
    """Write a NIfTI whose frame is said by its sform or, if that is a rotation, by its qform alone."""
    nibabel = pytest.importorskip("nibabel")
    affine = world_matrix((*spacing, 1.0)) if world is None else world
    if affine.shape == (4, 3):  # of a slice: any third axis does
        third = np.cross(affine[:3, 0], affine[:3, 1])
        affine = np.column_stack([affine[:, :2], [*third / np.linalg.norm(third), 0], affine[:, 2]])
    image = nibabel.Nifti1Image(array.transpose(), swap_lps_ras(affine))
    if by == "qform":
        image.set_sform(None, 0)
        image.set_qform(swap_lps_ras(affine), 1)
    image.header.set_xyzt_units("mm")
    nibabel.save(image, path)


def write_dicom(path, array, spacing, bits, inverted=False, world=None, preamble=True, **tags):
    """Write an image or a volume of frames, with ``bits`` of as many bytes as they need."""
    pydicom = pytest.importorskip("pydicom")
    meta = pydicom.dataset.FileMetaDataset()
    meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = pydicom.uid.SecondaryCaptureImageStorage
    meta.MediaStorageSOPInstanceUID = "1.2.3"
    data = pydicom.dataset.FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    data.SOPClassUID, data.SOPInstanceUID = meta.MediaStorageSOPClassUID, "1.2.3"
    data.Rows, data.Columns = array.shape[-2:]
    allocated = 8 if bits <= 8 else 16
    data.SamplesPerPixel, data.BitsAllocated, data.BitsStored, data.HighBit = 1, allocated, bits, bits - 1
    data.PixelRepresentation = int(array.dtype.kind == "i")
    data.PhotometricInterpretation = "MONOCHROME1" if inverted else "MONOCHROME2"
    stored = 2**bits - 1 - array.astype(int) if inverted else array
    kind = "i" if array.dtype.kind == "i" else "u"
    data.PixelData = stored.astype(f"<{kind}{allocated // 8}").tobytes()
    if array.ndim == 3:
        data.NumberOfFrames = len(array)
        data.SharedFunctionalGroupsSequence, data.PerFrameFunctionalGroupsSequence = frames_of(array, world)
    elif world is not None:
        steps = np.linalg.norm(world[:3, :2], axis=0)
        data.PixelSpacing = [round(float(steps[1]), 9), round(float(steps[0]), 9)]
        data.ImageOrientationPatient = [round(float(c), 9) for c in (world[:3, :2] / steps).T.ravel()]
        data.ImagePositionPatient = [round(float(c), 6) for c in world[:3, -1]]
    elif spacing is not None:
        data.PixelSpacing = [float(spacing[1]), float(spacing[0])]
    for name, value in tags.items():
        setattr(data, name, value)
    if preamble:
        data.save_as(path, enforce_file_format=True)
    else:
        del data.file_meta, data.preamble
        data.save_as(path, implicit_vr=True, little_endian=True)


def frames_of(array, world):
    """Return the shared and the per-frame functional groups of a DICOM volume."""
    from pydicom.dataset import Dataset

    steps = np.linalg.norm(world[:3, :3], axis=0)
    axes = world[:3, :3] / steps
    measures, orientation, shared = Dataset(), Dataset(), Dataset()
    measures.PixelSpacing = [round(float(steps[1]), 9), round(float(steps[0]), 9)]
    measures.SpacingBetweenSlices = round(float(steps[2]), 9)
    orientation.ImageOrientationPatient = [round(float(c), 9) for c in (*axes[:, 0], *axes[:, 1])]
    shared.PixelMeasuresSequence, shared.PlaneOrientationSequence = [measures], [orientation]
    frames = []
    for z in range(len(array)):
        position, frame = Dataset(), Dataset()
        position.ImagePositionPatient = [round(float(c), 6) for c in (world @ [0, 0, z, 1])[:3]]
        frame.PlanePositionSequence = [position]
        frames.append(frame)
    return [shared], frames


def load(path, landmark, **options):
    """Return the sample that a pipeline without any augmentation makes, and its input (*S) of 0 to 1."""
    record = dict(img_path=str(path), sample_id=path.name, landmarks=np.array([landmark], np.float32))
    packed = PackInputs()(LoadImage(file_spacing=True, **options)(record))
    return packed["data_samples"], packed["data_samples"].unit_pixels(packed["inputs"])[0].numpy()


# name: (writer, bits of the picture, further arguments, whether it keeps spacing)
FLAT = {
    "a.png": (write_cv, 8, {}, False),
    "a.bmp": (write_cv, 8, {}, False),
    "a.tif": (write_cv, 8, {}, False),
    "a.jpg": (write_cv, 8, {}, False),
    "a.npy": (write_npy, 8, {}, False),
    "a.mha": (write_sitk, 8, {}, True),
    "compressed.mhd": (write_sitk, 8, dict(compress=True), True),
    "a.nrrd": (write_sitk, 8, {}, True),
    "a.nii": (write_nifti, 8, {}, True),
    "a.nii.gz": (write_nifti, 8, {}, True),
    "a.dcm": (write_dicom, 8, dict(bits=8), True),
    "mono1.dcm": (write_dicom, 8, dict(bits=8, inverted=True), True),
    "bare.dcm": (write_dicom, 8, dict(bits=8, preamble=False), True),
    "without_suffix": (write_dicom, 8, dict(bits=8), True),
    "called.png": (write_dicom, 8, dict(bits=8), True),
    "12.dcm": (write_dicom, 12, dict(bits=12), True),
    "12mono1.dcm": (write_dicom, 12, dict(bits=12, inverted=True), True),
    "12rescaled.dcm": (write_dicom, 12, dict(bits=12, RescaleSlope=0.5, RescaleIntercept=-1024), True),
    "12mono1_rescaled.dcm": (
        write_dicom, 12, dict(bits=12, inverted=True, RescaleSlope=2, RescaleIntercept=7), True
    ),
    "16.png": (write_cv, 16, {}, False),
    "16.tif": (write_cv, 16, {}, False),
    "16.npy": (write_npy, 16, {}, False),
    "16.mha": (write_sitk, 16, {}, True),
    "16.nrrd": (write_sitk, 16, {}, True),
    "16.nii.gz": (write_nifti, 16, {}, True),
    "16.dcm": (write_dicom, 16, dict(bits=16), True),
    "16mono1.dcm": (write_dicom, 16, dict(bits=16, inverted=True), True),
}  # fmt: skip

VOLUMES = {
    "a.nii": (write_nifti, {}),
    "a.nii.gz": (write_nifti, {}),
    "a.mha": (write_sitk, {}),
    "compressed.mha": (write_sitk, dict(compress=True)),
    "a.mhd": (write_sitk, {}),
    "a.nrrd": (write_sitk, {}),
    "compressed.nrrd": (write_sitk, dict(compress=True)),
    "a.dcm": (write_dicom, dict(bits=16)),
}
