"""Other names of groups: columns and keys that name the patient."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest

from mmlandmark.datasets import LandmarkDataset
from mmlandmark.datasets.patients import is_patient, patient_key, set_groups
from mmlandmark.datasets.releases import CocoKeypoints


def table(tmp_path, column, patients, others=""):
    rows = [f"{n}.png,1,2,{patient}{others and ',s'}\n" for n, patient in enumerate(patients)]
    (tmp_path / "a.csv").write_text(f"image,a_x,a_y,{column}{others}\n" + "".join(rows))
    return lambda **options: LandmarkDataset("a.csv", str(tmp_path), missing_images="keep", **options)


@pytest.mark.parametrize("column", ["patient", "Patient ID", "PatientID", "subject", "participant_id"])
def test_a_column_of_patients_keeps_them_in_one_fold(tmp_path, column):
    build = table(tmp_path, column, ["007", "7", "007", "q", "7", "q"])
    assert [record["group"] for record in build()] == ["007", "7", "007", "q", "7", "q"]
    assert build().get_data_info(0)[column] == "007"
    folds = [{record["group"] for record in build(fold=k, num_folds=3)} for k in range(3)]
    assert sorted(map(sorted, folds)) == [["007"], ["7"], ["q"]]


def test_an_id_counts_more_than_a_name(tmp_path):
    build = table(tmp_path, "patient,subject", ["Ann,1", "Ann,2", ",2"])
    assert [record["group"] for record in build()] == ["Ann", "Ann", "2"]
    assert patient_key(["age", "Subject ID", "patient"]) == "Subject ID"
    assert patient_key(["age", "patient age"]) is None
    assert not is_patient("patients")
    with pytest.raises(ValueError, match="'patients', did you mean 'patient'"):
        table(tmp_path, "patients", "pq")()


def test_samples_of_json_and_images_of_coco_name_patients(tmp_path):
    people = ["p", "q", "p", None]
    samples = [dict(image=f"{n}.png", landmarks=[[1, 2]], patient=one) for n, one in enumerate(people)]
    (tmp_path / "a.json").write_text(json.dumps(dict(samples=samples)))
    data = LandmarkDataset("a.json", str(tmp_path), missing_images="keep")
    assert [record["group"] for record in data] == people
    images = [dict(id=n, file_name=f"{n}.png", subject_id=one) for n, one in enumerate(people)]
    marks = [dict(id=n, image_id=n, category_id=1, keypoints=[1, 2, 2]) for n in range(4)]
    kinds = [dict(id=1, name="one", keypoints=["a"])]
    (tmp_path / "coco.json").write_text(json.dumps(dict(images=images, annotations=marks, categories=kinds)))
    for n in range(4):
        cv2.imwrite(str(tmp_path / f"{n}.png"), np.zeros((9, 9), np.uint8))
    coco = CocoKeypoints("coco.json", str(tmp_path))
    assert [record["group"] for record in coco] == people
    samples[1]["patient"] = dict(age=4)
    (tmp_path / "a.json").write_text(json.dumps(dict(samples=samples)))
    with pytest.raises(ValueError, match=r"samples\[1\].*: patient must be text or a number, got"):
        LandmarkDataset("a.json", str(tmp_path), missing_images="keep")


@pytest.mark.parametrize("other", ["after", None])
def test_a_patient_is_in_one_group(other):
    def records(*groups):
        people = zip("ppq", groups, strict=True)
        return [dict(sample_id=str(n), patient=p, group=g) for n, (p, g) in enumerate(people)]

    set_groups(same := records("clinic", "clinic", "clinic"))
    assert [one["group"] for one in same] == ["clinic"] * 3
    with pytest.raises(ValueError, match=r"sample '1': its patient is 'p', as that of sample '0', but they"):
        set_groups(records("before", other, "before"))
