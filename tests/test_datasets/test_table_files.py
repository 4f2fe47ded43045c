"""Tables as scripts and spreadsheets write them."""

from __future__ import annotations

import numpy as np
import pytest

from mmlandmark.datasets import LandmarkDataset
from mmlandmark.datasets.table_files import read_csv
from mmlandmark.datasets.table_rows import read_rows

POINTS = [[10.5, 20.25], [30.0, 40.0]]
PLAIN = "image,a_x,a_y,b_x,b_y,note\n001.png,10.5,20.25,30,40,x\n"


def read(tmp_path, text, encoding="utf-8", **kwargs):
    path = tmp_path / "a.csv"
    path.write_bytes(text.encode(encoding) if isinstance(text, str) else text)
    return read_csv(path, **kwargs)


@pytest.mark.parametrize(
    "text",
    [
        PLAIN,
        PLAIN.replace("\n", "\r\n"),
        PLAIN.replace("\n", "\r"),
        "sep=,\n" + PLAIN,
        "sep=;\n" + PLAIN.replace(",", ";"),
        '"sep=;"\r\n' + PLAIN.replace(",", ";"),
        PLAIN.replace(",", ";").replace(".5", ",5").replace(".25", ",25"),
        PLAIN.replace(",", "\t").replace(".5", ",5").replace(".25", ",25"),
        PLAIN.replace(",", ";"),
        '"image","a_x","a_y","b_x","b_y","note"\n"001.png","10.5","20.25","30","40","x"\n',
        'image;a_x;a_y;b_x;b_y;note\n"001.png";"10,5";"20,25";"30";"40";"one; two, ""three"""\n',
        "image,a_x,a_y,b_x,b_y,note,,,\n001.png,10.5,20.25,30,40,x,,,\n",
        "image,a_x,a_y,b_x,b_y,note\n001.png,10.5,20.25,30,40,x,,,\n,,,\n\n",
        ",image,a_x,a_y,b_x,b_y\n0,001.png,10.5,20.25,30,40\n",
        "Image , a_x, a_y, b_x, b_y\n001.png, 10.5, 20.25, 30, 40\n",
        "File Name,a-x,a-y,b x,b y\n001.png,1.05e1,+20.25,30.,40\n",
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_one_table_in_many_forms(tmp_path, text, encoding):
    records, names = read(tmp_path, text, encoding)
    assert len(records) == 1
    assert records[0]["sample_id"] == "001"
    assert records[0]["landmarks"].tolist() == POINTS
    assert names == ["a", "b"]


@pytest.mark.parametrize(
    "text",
    [
        "001;10,5;20,25;30;40\n",
        "001\t10.5\t20.25\t30\t40\n",
        "001,10.5,20.25,30,40,\n",
        "sep=;\n001;10,5;20,25;30;40;",
    ],
)
def test_one_table_without_header(tmp_path, text):
    ((record,), names) = read(tmp_path, text)
    assert (record["sample_id"], record["landmarks"].tolist(), names) == ("001", POINTS, None)


def test_ids_that_resemble_a_column_are_ids(tmp_path):
    records, _ = read(tmp_path, "image1,1,2\nimage2,3,4\nfiles,5,6\n")
    assert [r["sample_id"] for r in records] == ["image1", "image2", "files"]


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("id,image,a_x,a_y\nx.png,x.png,1,2\nx.jpg,x.jpg,3,4\n", ["x.png", "x.jpg"]),
        ("id,image,a_x,a_y\n1.2.8,1.2.8,1,2\n1.2.9,1.2.9,3,4\n", ["1.2.8", "1.2.9"]),
        ("image,a_x,a_y\n1.2.8,1,2\nsub/1.2.9,3,4\n", ["1.2.8", "1.2.9"]),
        ("id,a_x,a_y\none/x,1,2\ntwo/x,3,4\n", ["one/x", "two/x"]),
        ("id,a_x,a_y\none/x.png,1,2\ntwo/y.pgm,3,4\n", ["x", "y"]),
        ("id,a_x,a_y\none/x.png,1,2\ntwo/x.pgm,3,4\n", ["one/x", "two/x"]),
        ("image,a_x,a_y\np1/x.png,1,2\np2\\x.png,3,4\np2/y.png,5,6\n", ["p1/x", "p2/x", "y"]),
        ("p1/x.png,1,2\np2/x.png,3,4\n", ["p1/x", "p2/x"]),
        ("id,image,a_x,a_y\n,p1/x.png,1,2\nq,p2/x.png,3,4\n", ["x", "q"]),
        ("image,a_x,a_y\np1/x.png,1,2\np1/x.png,3,4\n", ["x", "x"]),
    ],
)
def test_an_id_stays_as_it_is_given(tmp_path, text, ids):
    assert [record["sample_id"] for record in read(tmp_path, text)[0]] == ids


def test_a_landmark_without_any_annotation_stays_where_there_is_no_header(tmp_path):
    ((record,), _) = read(tmp_path, "001,10.5,20.25,,\n")
    assert record["landmarks"].shape == (2, 2)
    assert np.isnan(record["landmarks"][1]).all()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sep=|\na|1|2\n", r"line 1: 'sep=\|': cells are separated by"),
        ("image;a_x;a_y\nq;1,5;2\nw;1.5;2\n", r"line 2: '1,5' has a comma, but '1.5' in line 3 has a point"),
        ("image;a_x;a_y\nq;1,234;567\n", r"line 2: '1,234' may be 1234 or 1\.234, and no other number"),
        ("q;1,234;567\n", r"line 1: '1,234' may be 1234 or 1\.234, and no other number of the table"),
        ("image;a_x;a_y;spacing\nq;1,234;567;0.1\n", r"'1,234' has a comma, but '0.1' in line 2 has a point"),
        (
            "image,a_x,a_y,spacing,spacing_x,spacing_y\nq,1,2,0.1,.1,.1\nw,1,2,0.1,0.1,0.2\n",
            r"line 3: the spacings differ: spacing 0\.1, spacing_x 0\.1, spacing_y 0\.2; leave out",
        ),
        ("q;1.234,5;2\n", "no columns of coordinates|not a number"),
        ("image;a_x;a_y\nq;1.234,5;2\n", r"line 2: '1.234,5' is not a number"),
        ('image,a_x,a_y\nq,"1,5",2\n', r"line 2: '1,5' is not a number; decimal commas are read in tables"),
        ("image,a_x,a_y\nq,=B1+1,2\n", r"line 2: '=B1\+1' is not a number; it is a formula"),
        ("image,a_x,a_y\nq,#REF!,2\n", "line 2: '#REF!' is not a number; it is an error of a formula"),
        ("image,a_x,a_y\nq,inf,2\n", "line 2: 'inf' is not a number"),
        ("image,a_x,a_y\nq,1e999,2\n", "line 2: '1e999' is too large"),
        ("image,a_x,a_y\nq,1_000,2\n", "line 2: '1_000' is not a number"),
        ("image,a_x,a_y\nq,0x10,2\n", "line 2: '0x10' is not a number"),
        ("image,a_x,a_y\nq,\u0661,2\n", "line 2: .* is not a number"),
        ("image,a_x,a_y\nq,true,2\n", "line 2: 'true' is not a number"),
        ('image,a_x,a_y\nq,1,"2\nw,3,4\n', "line 3: .*do all quotes close"),
        ("image,1,2\n001,3,4\n", r"line 1: 'image' looks like a header"),
        (
            "001.png,1.5,2.5,3.5,4..5\n",
            r"line 1: '4..5' is not a number, and the line is not a header either",
        ),
        ("image,a_x,a_y,gruop\nq,1,2,p\n", "line 1: .* did you mean 'group'"),  # codespell:ignore
        ("image,a_x,a_y,spliit\nq,1,2,p\n", "did you mean 'split'"),  # codespell:ignore
        ("image,a_x,a_y,Spacingg\nq,1,2,p\n", "did you mean 'spacing'"),
        ("image,nasion_x,nasion_y,nasionX\nq,1,2,p\n", "did you mean 'nasion_x'"),
        ("image,a_x,a_y,weights\nq,1,2,1\n", r"a table cannot hold \['weights'\]; write a JSON file"),
        ("image,a_x,a_y,source\nq,1,2,1\n", "'source' is a reserved name; give it another name"),
        ("image,Image,a_x,a_y\nq,w,1,2\n", r"columns named twice: \['image', 'Image'\]"),
        ("image,a_x,a_y,a.x\nq,1,2,3\n", r"columns named twice: \['a_x', 'a.x'\]"),
        ("image,x1,y1,x01\nq,1,2,3\n", r"columns named twice: \['x1', 'x01'\]"),
        ("image,a_x,a_y,a visibility,a_visibility\nq,1,2,1,0\n", r"columns named twice: \['a vis.*', 'a_vis"),
        ("image,a_x,a_y,a visibilitx\nq,1,2,1\n", "'a visibilitx', did you mean 'a visibility'"),
        (
            "image,pixel_size_x,pixel_size_y,a_x,a_y\nq,1,1,1,2\n",
            "be a landmark 'pixel_size'; call it 'spacing_x'",
        ),
        ("image,Size X,Size Y,a_x,a_y\nq,1,1,1,2\n", "would be a landmark 'Size'; call it 'width'"),
        ("image,a_x,a_y,\nq,1,2,left\n", "line 2: 4 cells, but the header has 3"),
        ("image,,a_x,a_y\nq,left,1,2\n", "column 2 has no name"),
        ("image,a_x,a_y,width,height\nq,1,2,30,\n", "'width' and 'height' must be given together"),
        ("image,a_x,a_y,width,height\nq,1,2,30,1.5\n", "must be whole pixels"),
        (
            'id,a_x,a_y\n"q\nw",1,2\n',
            r"line 3: the id 'q\\nw' is empty, begins or ends with a blank, or contains a line end",
        ),
        ("image,a_x,a_y\n", "the table has no rows, only a header: image, a_x, a_y"),
        ("image,a_x,a_y\n,1,2\n", "line 2: neither id nor image is given"),
        ("a\0b,1,2\n", "not a text file"),
        (b"\x81\x8d\xff,1,2\n", "neither a UTF-8 text file nor one of Windows-1252"),
    ],
)
def test_what_cannot_be_read_is_told(tmp_path, text, message):
    with pytest.raises(ValueError, match=message) as error:
        read(tmp_path, text)
    assert "a.csv" in str(error.value)


def test_a_column_like_no_other_is_kept(tmp_path):
    ((record,), _) = read(tmp_path, "image,a_x,a_y,aX,age\nq,1,2,p,40\n")
    assert (record["aX"], record["age"]) == ("p", 40)
    assert read_rows(tmp_path / "a.csv")[1] == (2, ["q", "1", "2", "p", "40"])


def test_spacings_that_agree_are_one(tmp_path):
    text = (
        "image,a_x,a_y,spacing,spacing_x,spacing_y\nq,1,2,0.1,.1,0.10\nw,1,2,,.1,.2\ne,1,2,.3,,\nr,1,2,,,\n"
    )
    records, _ = read(tmp_path, text)
    assert [record.get("spacing") for record in records] == [0.1, [0.1, 0.2], 0.3, None]


@pytest.mark.parametrize(
    ("text", "teeth"),
    [
        ('image,a_x,a_y,teeth\nq,1.5,2,"3,4"\n', "3,4"),
        ("image;a_x;a_y;teeth\nq;1.5;2;3,4\n", "3,4"),
        ("image;a_x;a_y;teeth\nq;1;2;3,456\n", "3,456"),
        ("image;a_x;a_y;teeth\nq;1,5;2;3,4\n", 3.4),
    ],
)
def test_a_comma_in_an_own_column_is_decimal_only_if_those_of_coordinates_are(tmp_path, text, teeth):
    ((record,), _) = read(tmp_path, text)
    assert record["teeth"] == teeth


def test_a_misspelt_column_of_the_schema_is_told(tmp_path):
    text = "image,sella_x,sella_y,nasionx,nasiony\nq,1,2,3,4\n"
    with pytest.raises(ValueError, match="unknown column 'nasionx', did you mean 'nasion_x'"):
        read(tmp_path, text, names=["sella", "nasion"])
    with pytest.raises(ValueError, match=r"landmarks \['Sella'\] .*did you mean 'sella' for 'Sella'"):
        read(tmp_path, "image,Sella_x,Sella_y\nq,1,2\n", names=["sella", "nasion"])


def test_a_table_of_a_spreadsheet_becomes_a_dataset(tmp_path):
    text = "sep=;\r\nimage;a_x;a_y;spacing;group;width;height;age\r\n001.png;10,5;2;0,1;7;60;50;42\r\n"
    (tmp_path / "a.csv").write_bytes(text.encode("utf-16"))
    record = LandmarkDataset("a.csv", str(tmp_path), missing_images="keep").get_data_info(0)
    assert (record["spacing"], record["group"], record["ori_shape"], record["age"]) == (
        (0.1, 0.1),
        "7",
        (50, 60),
        42,
    )
