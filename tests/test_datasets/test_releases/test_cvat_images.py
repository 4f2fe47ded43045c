"""Points annotated in CVAT."""

from __future__ import annotations

import numpy as np
import pytest

from mmlandmark.datasets.releases import CvatImages

XML = """<?xml version="1.0" encoding="utf-8"?>
<annotations>
  <version>1.1</version>
  <meta><task><labels>
    <label><name>nasion</name><type>points</type></label>
    <label><name>tooth</name><type>rectangle</type></label>
    <label><name>sella &amp; co</name><type>any</type></label>
    <label><name>menton</name><type>points</type></label>
  </labels></task></meta>
  <image id="0" name="a/1.png" width="40" height="50">
    <points label="sella &amp; co" source="manual" occluded="0" points="10.50,20.75" z_order="0"></points>
    <box label="tooth" occluded="0" xtl="1" ytl="1" xbr="2" ybr="2"></box>
    <points label="nasion" occluded="1" points="0.5,0.5"><attribute name="x">1</attribute></points>
  </image>
  <image id="1" name="2.png" width="40" height="50">
    <skeleton label="face" z_order="0">
      <points label="nasion" outside="0" occluded="0" points="3.5,4.5"></points>
      <points label="menton" outside="1" occluded="0" points="7.5,8.5"></points>
    </skeleton>
    <tag label="bad"></tag>
  </image>
  <image id="3" name="b\\1.png"/>
</annotations>
"""


def cvat(tmp_path, xml=XML, **kwargs):
    (tmp_path / "a.xml").write_text(xml, encoding="utf-8")
    return CvatImages("a.xml", str(tmp_path), missing_images="keep", serialize_data=False, **kwargs)


def test_points_and_skeletons(tmp_path):
    data = cvat(tmp_path)
    assert data.schema.landmarks == ("nasion", "sella & co", "menton")
    one, two, three = map(data.get_data_info, range(3))
    assert [r["sample_id"] for r in (one, two, three)] == ["a/1", "2", "b/1"]
    np.testing.assert_array_equal(one["landmarks"], [[0, 0], [10, 20.25], [np.nan, np.nan]])
    np.testing.assert_array_equal(two["landmarks"][:, 0], [3, np.nan, np.nan])
    assert np.isnan(three["landmarks"]).all()
    assert one["ori_shape"] == (50, 40)
    assert one["img_path"].endswith("a/1.png")


def test_a_schema_of_other_order(tmp_path):
    schema = dict(name="x", landmarks=["menton", "gonion", "sella & co", "nasion"])
    record = cvat(tmp_path, schema=schema).get_data_info(0)
    np.testing.assert_array_equal(record["landmarks"][2:], [[10, 20.25], [0, 0]])
    assert np.isnan(record["landmarks"][:2]).all()


def test_images_that_differ_in_their_suffix_alone(tmp_path):
    data = cvat(tmp_path, XML.replace("2.png", "a/1.jpg"))
    ids = [data.get_data_info(i)["sample_id"] for i in range(3)]
    assert ids == ["a/1.png", "a/1.jpg", "b/1"]
    data = cvat(tmp_path, XML.replace("2.png", "a/1.jpg").replace("b\\1.png", "a/1.png.png"))
    assert data.get_data_info(2)["sample_id"] == "a/1.png.png"
    assert cvat(tmp_path, XML.replace("2.png", "1.2.840.7")).get_data_info(1)["sample_id"] == "1.2.840.7"


def test_labels_without_a_head(tmp_path):
    start, end = XML.index("<meta>"), XML.index("</meta>") + 7
    assert cvat(tmp_path, XML[:start] + XML[end:]).schema.landmarks == ("sella & co", "nasion")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('points="10.50,20.75"', 'points="1,2;3,4"', r"a.xml, line 11: 'sella & co' must be one point"),
        ('points="10.50,20.75"', 'points="1,two"', r"line 11: .* must be one point 'x,y', got '1,two'"),
        ('points="10.50,20.75"', "", r"line 11: 'sella & co' must be one point"),
        ('points label="sella &amp; co"', "points", r"line 11: the points have no label"),
        ('points label="sella &amp; co"', 'points label="nasion"', r"line 13: a second point 'nasion'"),
        ('points label="sella &amp; co"', 'points label="\u2028"', r"a.xml: .*must be printable text"),
        ('name="2.png" ', "", r"a.xml, line 15: the image has no name"),
        ('width="40" ', 'width="4o" ', r"a.xml, line 10: '4o' is not a number"),
        ('width="40" ', "", r"a.xml, line 10: 'width' and 'height' must be given"),
        ("<annotations>", "<!DOCTYPE x [<!ENTITY y 'z'>]><annotations>", r"line 2: document types"),
        ("</skeleton>", "", r"a.xml, line 21: not valid XML: mismatched tag"),
        ("<image id=\"3\"", '<track id="0" label="x"></track><image id="3"', r"line 22: tracks of a video"),
        ('name="2.png"', 'name="../2.png"', r"image '../2.png' is outside of the data folder"),
    ],
)  # fmt: skip
def test_broken_files(tmp_path, old, new, message):
    assert old in XML
    with pytest.raises(ValueError, match=message):
        cvat(tmp_path, XML.replace(old, new, 1)).full_init()


def test_files_without_points(tmp_path):
    with pytest.raises(ValueError, match=r"a.xml: there is no image in it; is it a file of CVAT\?"):
        cvat(tmp_path, "<x/>")
    with pytest.raises(ValueError, match=r"a.xml: no image has points, and no label is of type points"):
        cvat(tmp_path, '<annotations><image name="a.png"/></annotations>')
    with pytest.raises(ValueError, match=r"landmarks \['nasion', 'sella & co'\] are not in the schema"):
        cvat(tmp_path, schema=dict(name="x", landmarks=["menton"]))
