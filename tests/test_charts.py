"""Charts and pages: well-formed, and right about what they show."""

import xml.etree.ElementTree as ElementTree

import pytest

from recscale_dask.charts import Axis, Series, chart
from recscale_dask.page import Page


def drawn(*series, x=None, y=None):
    return ElementTree.fromstring(chart("A & B", x or Axis("x"), y or Axis("y"), series))


def heights(svg):
    return [float(each.attrib["cy"]) for each in svg.iter("circle")]


def ticks(svg):
    return [each.text for each in svg.iter("text") if each.attrib["class"] == "label"]


def test_larger_values_are_drawn_further_up():
    first, second, third = heights(drawn(Series(x=[1, 2, 3], y=[5, 10, 20])))
    assert first > second > third


def test_a_logarithmic_axis_puts_equal_ratios_at_equal_distances():
    first, second, third = heights(drawn(Series(x=[1, 2, 3], y=[1, 10, 100]), y=Axis("y", log=True)))
    assert first - second == pytest.approx(second - third, abs=0.2)
    assert {"1", "10", "100"} <= set(ticks(drawn(Series(x=[1, 2], y=[1, 100]), y=Axis("y", log=True))))


def test_what_has_no_logarithm_is_left_out():
    svg = drawn(Series(x=[1, 2, 3], y=[0, 1, 2], errors=[0.0, 5.0, 0.1]), y=Axis("y", log=True))
    assert len(heights(svg)) == 2


def test_names_stand_for_numbers():
    assert {"ridge", "none"} <= set(
        ticks(drawn(Series(x=[0, 1], y=[1, 2]), x=Axis("filter", names={0: "none", 1: "ridge"})))
    )


@pytest.mark.parametrize("y", [[3.0], [0.0, 0.0], [-2.0, -2.0], [1e-30, 1e30]])
def test_flat_and_single_and_extreme_values_have_a_place(y):
    assert len(heights(drawn(Series(x=list(range(len(y))), y=y)))) == len(y)


def test_nothing_to_show_is_said():
    assert "nothing to show" in chart("A", Axis("x"), Axis("y"), [Series(x=[], y=[])])


def test_page_escapes_text_and_writes_numbers_on_the_right():
    page = Page("<Title>")
    page.table(["name", "value"], [["a < b", 1234], ["c", 0.123456], ["d", None], ["e", True]])
    text = page.html("made & kept")
    assert "<h1>&lt;Title&gt;</h1>" in text
    assert '<td>a &lt; b</td><td class="number">1,234</td>' in text
    assert "0.1235" in text
    assert "<td>True</td>" in text
    assert "made &amp; kept" in text
