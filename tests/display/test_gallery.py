"""Every figure asserts its claim and is drawn; its picture is the same bytes twice, has a text alternative, and stands in the repository."""

import re
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest

import numpyscore as ns
from numpyscore.cli import main
from numpyscore.derivations import CHAPTERS, Verdicts
from numpyscore.display import gallery, plots

pytest.importorskip("matplotlib")
NAMES = tuple(gallery.scripts())
FIGURES = Path(__file__).parents[2] / "figures"
SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def pictures():
    """Drawn when first asked for, each once."""
    drawn = {}

    def picture(name):
        if name not in drawn:
            drawn[name] = gallery.draw(name)
        return drawn[name]

    return picture


@pytest.mark.parametrize("name", NAMES)
def test_a_figure_claims_asserts_and_is_drawn(name, pictures):
    picture = pictures(name)
    script = gallery.load(name)
    assert picture.title.endswith(".") and len(picture.claim) > 80 and script.CHAPTER in range(1, 9)
    text = (FIGURES / f"{name}.py").read_text()
    measured = text[text.index("def measure()") : text.index("def draw()")]
    assert (
        re.search(r"^ +(assert |np\.testing\.)", measured, re.M)
        and "def claim(found)" in measured
        and "measure()" in text[text.index("def draw()") :]
    )
    assert (
        "numpyscore." not in re.sub("`numpyscore bench|from numpyscore.display import plots", "", text)
        and "._" not in text
    )  # public names only
    root = ET.fromstring(picture.svg)
    assert root.get("role") == "img" and root.find(f"{SVG}title").text == picture.title
    assert root.find(f"{SVG}desc").text == picture.claim
    assert root.get("aria-labelledby").split() == [root.find(f"{SVG}{tag}").get("id") for tag in ("title", "desc")]
    ids = [e.get("id") for e in root.iter() if e.get("id")]
    assert len(ids) == len(set(ids)) and all(i == name or i.startswith(f"{name}-") for i in ids)
    assert set(re.findall(r'(?:href="|url\()#([\w-]+)', picture.svg)) <= set(ids)
    assert "currentColor" in picture.svg and plots.INK not in picture.svg and "20" + "26" not in picture.svg
    assert len(picture.svg) < 200_000


@pytest.mark.parametrize("name", NAMES)
def test_the_picture_in_the_repository_is_this_one(name, pictures):
    """Up to what other versions of matplotlib, and the last bits of other machines, change: title and claim must be the same."""
    committed = ET.parse(FIGURES / f"{name}.svg").getroot()
    picture = pictures(name)
    assert committed.find(f"{SVG}title").text == picture.title
    assert committed.find(f"{SVG}desc").text == picture.claim


# half a second each, and more
SLOW = (
    "collapse",
    "error_where_few",
    "five_ways",
    "flow_paths",
    "langevin",
    "levels_flow",
    "noise_trade_off",
    "probe_variance",
    "three_samplers",
)
CLAIMS = [pytest.param(name, marks=pytest.mark.nightly) if name in SLOW else name for name in NAMES]


@pytest.mark.parametrize("name", CLAIMS)
def test_a_claim_holds_and_does_not_when_any_one_of_its_arrays_is_one_percent_off(name):
    script = gallery.load(name)
    measured = script.measure()
    script.claim(measured)
    for key, values in measured.items():
        with pytest.raises(AssertionError):
            script.claim(measured | {key: 1.01 * values})


def test_the_pictures_of_the_readme_have_a_form_for_a_phone(pictures):
    """Written by `Path(...).write_text(gallery.draw(name, narrow=True).narrow_file)`."""
    readme = (FIGURES.parent / "README.md").read_text()
    shown = re.findall(r'srcset="figures/narrow/(\w+).svg"><img src="figures/(\w+).svg"', readme)
    assert len(shown) == readme.count("<img ") >= 4 and all(a == b for a, b in shown)
    for name, _ in shown:
        committed = ET.parse(FIGURES / "narrow" / f"{name}.svg").getroot()
        assert committed.find(f"{SVG}desc").text == pictures(name).claim
        assert float(committed.get("viewBox").split()[2]) == pytest.approx(72 * plots.COLUMN, abs=0.1)


def test_the_pictures_are_small():
    assert sum(path.stat().st_size for path in FIGURES.glob("*.svg")) < 82_000 * len(NAMES)


def test_every_chapter_has_a_figure():
    found = {gallery.load(name).CHAPTER for name in NAMES}
    assert found >= {chapter.number for chapter in CHAPTERS} and found == set(range(1, 9))


@pytest.mark.parametrize("name", ["parts_areas", *(pytest.param(n, marks=pytest.mark.nightly) for n in NAMES)])
def test_on_a_phone_panels_stand_beneath_one_another_and_letters_keep_their_size(name):
    """A page of 390 pixels has 366 for a figure; COLUMN inches have 72 points each, so the smallest letters, 7.8 points, have 10.7 pixels."""
    picture = gallery.draw(name, narrow=True)
    boxes = [
        [float(n) for n in re.search(r'viewBox="0 0 (\S+) (\S+)"', svg).groups()]
        for svg in (picture.svg, picture.narrow)
    ]
    (width, height), (narrow, tall) = boxes
    assert abs(narrow - 72 * plots.COLUMN) < 0.1 and 366 / narrow * 7.8 > 9 and tall / narrow > height / width
    assert picture.narrow.count(f'id="{name}-narrow-axes_') == picture.svg.count(f'id="{name}-axes_')
    ids = re.findall(r'\bid="([^"]+)"', picture.svg + picture.narrow)
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize("name", ["cost_of_z", "curiously_worse"])
def test_the_same_bytes_twice(name, pictures):
    assert gallery.draw(name) == pictures(name)


def test_a_claim_that_does_not_hold_is_not_drawn(tmp_path, monkeypatch, capsys):
    text = (FIGURES / "two_terms.py").read_text()
    path = tmp_path / "two_terms.py"
    path.write_text(text.replace("lambda m, y: m * y - 1", "lambda m, y: m * y - 1.5"))
    monkeypatch.setattr(gallery, "scripts", lambda: {"two_terms": path})
    with pytest.raises(AssertionError):
        gallery.draw("two_terms")
    assert main(["figures", "--out", str(tmp_path / "out")]) == 1
    assert "claim does not hold" in capsys.readouterr().out and not [*(tmp_path / "out").iterdir()]


def test_the_style_is_left_behind():
    import matplotlib as mpl

    before = dict(mpl.rcParams)
    with plots.style():
        assert mpl.rcParams["svg.hashsalt"] == "numpyscore"
    assert dict(mpl.rcParams) == before


def test_lines_differ_by_more_than_their_colour():
    looks = plots.looks(6)
    for key in ("color", "linestyle", "marker"):
        assert len({str(look[key]) for look in looks}) == 6
    channels = np.array([[int(c[i : i + 2], 16) for i in (1, 3, 5)] for c in plots.PALETTE])
    grey = np.sort(channels @ [0.299, 0.587, 0.114])
    assert grey[-1] - grey[0] > 60


def test_a_plot_of_gaps_for_a_notebook():
    verdicts = Verdicts([*ns.verify(only="exponential data"), *ns.verify(only="other units")])
    with plots.style():
        figure, (ax,) = plots.panels(1)
        artists = plots.gaps(ax, verdicts)
        assert len(artists) == 2 and [t.get_text() for t in ax.get_yticklabels()] == ["exponential data", "other units"]
        assert np.all(artists[1].get_xdata() < 1e-10)  # the exponential's gap is the one foreseen
        assert plots.svg(figure).startswith("<?xml")


# ------------------------------------------------------------------------------- the command


def test_the_command_lists_and_draws(tmp_path, capsys):
    assert main(["figures", "--list"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == len(NAMES)
    assert main(["figures", "cost_of_z", "--out", str(tmp_path / "new")]) == 0
    assert ET.parse(tmp_path / "new" / "cost_of_z.svg").getroot().tag == f"{SVG}svg"
    assert capsys.readouterr().out.strip() == str(tmp_path / "new" / "cost_of_z.svg")


@pytest.mark.parametrize("argv", [["nothing", "--out", "x"], ["cost_of_z"], ["cost_of_z", "--out", "/dev/null/x"]])
def test_wrong_usage_is_one_line(argv, capsys):
    assert main(["figures", *argv]) == 2
    out = capsys.readouterr()
    assert out.out == "" and out.err.count("\n") == 1


def test_without_matplotlib_one_line_says_what_is_needed(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(gallery, "drawable", lambda: False)
    assert main(["figures", "--out", str(tmp_path)]) == 2
    assert "numpyscore[figures]" in capsys.readouterr().err
    assert gallery.pictures_of([1]) is None


def test_the_pictures_of_a_chapter_are_drawn_in_both_forms(monkeypatch):
    name = next(n for n in NAMES if n not in SLOW)
    chapter, path = gallery.load(name).CHAPTER, gallery.scripts()[name]
    drawn = lambda name, narrow: gallery.Picture(
        name, "T.", "C.", '<svg style="wide">', '<svg style="narrow">' * narrow
    )
    monkeypatch.setattr(gallery, "scripts", lambda: {name: path})
    monkeypatch.setattr(gallery, "draw", drawn)
    (picture,) = gallery.pictures_of([chapter])[chapter]
    assert picture.name == name and "narrow" in picture.narrow_file and "wide" in picture.file
    assert gallery.pictures_of([chapter + 1]) == {}
    assert "background: #fff" in picture.narrow_file and picture.narrow_file.endswith("\n")


# ------------------------------------------------------------------------------- for slides


def test_a_figure_for_a_slide_has_text_as_text_its_claim_as_title_and_the_size_asked_for(tmp_path, capsys):
    """16:9 at the height of a slide is 13.33 x 7.5 inches; letters of 18 points there are 18 * 72 / (13.33 * 72) of its width."""
    argv = [
        "figures",
        "two_terms",
        "--out",
        str(tmp_path),
        "--format",
        "png,pdf,svg",
        "--size",
        "16:9",
        "--font-size",
        "18",
    ]
    assert main(argv) == 0
    assert [Path(line).name for line in capsys.readouterr().out.split()] == [
        "two_terms.png",
        "two_terms.pdf",
        "two_terms.svg",
    ]
    root = ET.parse(tmp_path / "two_terms.svg").getroot()
    words = ["".join(e.itertext()) for e in root.iter(f"{SVG}text")]
    title = gallery.draw("two_terms").title
    assert " ".join(words).count(title.split(",")[0][:30]) == 1 and len(words) > 10
    _, _, width, height = map(float, root.get("viewBox").split())
    assert width / height == pytest.approx(16 / 9, rel=1e-3)
    sizes = {
        float(size)
        for size in re.findall(r"font(?:-size)?: (?:[\w.]+ )*?([\d.]+)px", (tmp_path / "two_terms.svg").read_text())
    }
    assert 9.0 / width == pytest.approx(18 / (13.3333 * 72), rel=1e-3) and 9.0 in sizes
    head = (tmp_path / "two_terms.png").read_bytes()[16:24]
    across, down = int.from_bytes(head[:4], "big"), int.from_bytes(head[4:], "big")
    assert across == pytest.approx(2560, abs=2) and across / down == pytest.approx(16 / 9, rel=2e-3)
    assert (tmp_path / "two_terms.pdf").read_bytes().startswith(b"%PDF")


@pytest.mark.parametrize(
    "option, value, said",
    [("--format", "gif", "no format"), ("--format", "sgv", "did you mean svg"), ("--size", "16", "no size"), ("--size", "16:0", "no size"), ("--font-size", "1", "no font size")],
)  # fmt: skip
def test_what_is_no_slide_is_told(option, value, said, tmp_path, capsys):
    with pytest.raises(SystemExit):
        main(["figures", "two_terms", "--out", str(tmp_path), option, value])
    assert said in capsys.readouterr().err


def test_a_narrow_slide_has_its_panels_beneath_one_another_and_one_too_small_for_its_letters_is_refused(
    tmp_path, capsys
):
    argv = ["figures", "explicit_implicit", "--out", str(tmp_path), "--format", "svg", "--font-size", "8"]
    assert main([*argv, "--size", "3.3x5.5"]) == 0
    root = ET.parse(tmp_path / "explicit_implicit.svg").getroot()
    tops = [float(path.get("d").split()[2]) for path in root.iter(f"{SVG}path") if path.get("d", "").count("L") == 3]
    assert max(tops) - min(tops) > 100  # the frames of two panels, one under the other
    capsys.readouterr()
    assert main([*argv, "--size", "3.3x2.5"]) == 2
    err = capsys.readouterr().err
    assert "explicit_implicit" in err or "labels would lie on one another" in err
    assert err.count("\n") == 1


def overflowing(figure):
    """Texts of a drawn diagram that reach beyond the box they stand in."""
    figure.canvas.draw()
    boxes = [patch.get_window_extent() for patch in figure.axes[0].patches]
    texts = [(t.get_text(), t.get_window_extent()) for t in figure.axes[0].texts if t.get_text()]
    inside = lambda t, b: b.x0 < (t.x0 + t.x1) / 2 < b.x1 and b.y0 < (t.y0 + t.y1) / 2 < b.y1
    return [name for name, t in texts for b in boxes if inside(t, b) and (t.x0 < b.x0 or t.x1 > b.x1)]


def test_on_a_slide_the_text_of_a_diagram_stays_in_its_boxes():
    passes = gallery.load("four_passes").PASSES
    with plots.style():
        figure = plots.passes(passes)
        plots.slide(figure, "a claim", ("svg",), (40 / 3, 7.5), 22)
        assert not overflowing(figure)
        figure = plots.passes(passes)  # control: letters of the same size in smaller boxes
        figure.set_label("")
        plots.slide(figure, "a claim", ("svg",), (40 / 3, 7.5), 22)
        assert "bar.g, bar.z, bar.T" in overflowing(figure)
