"""The page: self-contained, the same bytes twice, every verdict on it, and read by a real browser where one is installed."""

import contextlib
import dataclasses
import html
import io
import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from chromium import PROGRAM, Chromium

import numpyscore as ns
from numpyscore.cli import main
from numpyscore.derivations import CHAPTERS, STEPS, Verdicts, closed_forms, on_data, run, selected
from numpyscore.display import gallery
from numpyscore.display import report as room
from numpyscore.display.prose import typeset
from numpyscore.display.report import report
from numpyscore.display.snippets import ANY, SNIPPETS, snippet

SCREENS = ({"width": 1400}, {"width": 360, "phone": True}, {"width": 390, "phone": True, "dark": True})
VOID = {"meta", "br", "img", "link", "input", "hr"}


class Reader(HTMLParser):
    """Elements and ids; complains of tags that do not pair."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.open, self.ids, self.links, self.tags, self.words = [], [], [], [], []
        self.feed(text)
        assert not self.open, self.open

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        self.tags.append((tag, found))
        self.ids += [found["id"]] if "id" in found else []
        self.links += [value for name, value in attributes if name in ("href", "xlink:href", "src")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open and self.open[-1] == tag, (tag, self.open[-3:])
        self.open.pop()

    def handle_data(self, data):
        self.words.append(data)


@pytest.fixture(scope="module")
def verdicts():
    """Own examples and counterexamples of every chapter, and one line on closed forms and on rows: quick, and of every kind."""
    quick = [
        "a field that is no score",
        "exponential data",
        "other units",
        "the trace is not driven to zero",
        "a kinked energy",
    ]
    found = Verdicts(seed=3)
    for name in ["Gaussian as an energy", *quick, "expansion of the square"]:
        found.extend(ns.verify(only=name, seed=3))
    study = on_data(np.random.default_rng(0).standard_normal((30, 1)), "thirty & one < two", seed=3)
    found.add(study, run(study, selected("boundary term")))
    return found


@pytest.fixture(scope="module")
def page(verdicts):
    return report(verdicts, pictures={})


def test_the_page_is_well_formed_and_self_contained(page):
    reader = Reader(page)
    assert len(reader.ids) == len(set(reader.ids))
    assert all(link.startswith("#") and link[1:] in reader.ids for link in reader.links)
    assert not {tag for tag, _ in reader.tags} & {"script", "link", "img", "iframe", "object"}
    assert not re.search(r"url\((?!#)|@import|https?://(?!www\.w3\.org/)", page)
    assert not re.search(r"\b20\d\d-\d\d-\d\d\b|\d\d:\d\d:\d\d", page)  # no date


def test_every_step_stands_on_it_with_its_equation_its_words_and_its_numbers(page, verdicts):
    words = " ".join(" ".join(Reader(page).words).split())
    for (_, name), same in verdicts.by_step().items():
        step = next(s for s in selected(name) if s.name == name)
        assert f'id="{room._slug(name)}"' in page and step.code in words and typeset(step.source) in page
        assert typeset(step.words) in page and typeset(step.name) in page
        assert all(room._subject(step, v) in page for v in same)
        assert all(typeset(h.name) in page for h in same.worst.hypotheses)
    assert page.count("<article") == len(verdicts.by_step()) and page.count("<math") >= len(verdicts.by_step())
    assert "thirty &amp; one &lt; two: 30 rows x 1 columns, standardised" in page
    for chapter in CHAPTERS:
        if chapter.title in {v.chapter for v in verdicts}:
            assert chapter.heading in words and typeset(chapter.text.split("\n\n")[0]) in page


def test_the_same_verdicts_give_the_same_bytes(page, verdicts):
    assert report(verdicts, pictures={}) == page
    assert report(Verdicts(verdicts, seed=4, notes=verdicts.notes), pictures={}) != page


def test_kinds_of_verdict_differ_by_more_than_their_colour(verdicts):
    fine = next(v for v in verdicts if v.word == "holds")
    wrong = dataclasses.replace(fine, gap=1.0, holds=False)
    unknown = dataclasses.replace(fine, holds=None)
    fails = next(v for v in verdicts if v.word == "fails as predicted")
    classes, words = set(), set()
    for v in (fine, wrong, unknown, fails):
        text = report([v], pictures={})
        classes.add(re.search(r'<article class="step (\w+)"', text)[1])
        words.add(re.search(r"<article.*?<span class=\"mark\">(.)</span> ([\w ]+)</span>", text, re.S).groups())
        assert ("Differences were found" in text) == (v is wrong)
    assert len(classes) == 4 and len(words) == 4
    style = room.STYLE.read_text()
    assert len({re.search(rf"\.{name} {{[^}}]*--edge: (\w+)", style)[1] for name in classes}) == 4


def test_one_difference_among_many_cases_is_the_one_shown(verdicts):
    same = [v for v in verdicts if v.step == "expansion of the square"]
    wrong = dataclasses.replace(same[1], gap=1e-3, holds=False, subject="the bad one")
    text = report([same[0], wrong, *same[2:]], pictures={})
    assert f"the worst of {len(same)} cases: the bad one" in text and '<article class="step differs"' in text


def test_places_on_the_scale():
    assert room._place(1e-17) == room._place(0.0) == room._place(1e-30) == 3
    assert room._place(1.0) == 95 and room._place(10**-8.5) == pytest.approx(49)
    assert 95 < room._place(1e3) <= 100 and 95 <= room._place(np.inf) <= 100


@pytest.mark.parametrize(
    "value, digits, text",
    [
        (0.0, 2, "0"), (1.0, 10, "1"), (-3.3e-15, 2, "−3.3×10⁻¹⁵"), (1e-16, 2, "10⁻¹⁶"), (0.19274475702, 10, "0.192744757"),
        (np.inf, 2, "∞"), (-np.inf, 2, "−∞"), (np.nan, 2, "undefined"), (1.5e20, 10, "1.5×10²⁰"), (123456.0, 2, "1.2×10⁵"), (-12.5, 4, "−12.5"),
    ],
)  # fmt: skip
def test_numbers_are_written_as_by_hand(value, digits, text):
    assert room._shown(value, digits) == text


def test_nothing_and_strangers_are_refused(verdicts):
    with pytest.raises(ValueError, match="empty"):
        report([])
    with pytest.raises(ValueError, match="no chapter has a step"):
        report([dataclasses.replace(verdicts[0], step="perpetual motion")])


def test_without_matplotlib_one_line_says_what_figures_need(verdicts, monkeypatch):
    monkeypatch.setattr(room, "pictures_of", lambda chapters: None)
    text = report(verdicts)
    assert text.count("numpyscore[figures]") == 1 and text.count("<article") == len(verdicts.by_step())


# ------------------------------------------------------------------------------- lists of verdicts


def test_verdicts_are_a_list_that_counts_and_prints(verdicts):
    found = ns.verify(only="other units")
    assert isinstance(found, list) and isinstance(found, Verdicts) and len(found) == sum(found.counts.values())
    assert "other units" in str(found) and found.summary in str(found)
    record = json.loads(json.dumps(verdicts.to_dict(), allow_nan=False))
    assert record["counts"] == verdicts.counts and len(record["verdicts"]) == len(verdicts)
    assert verdicts.counts["fails as predicted"] >= 4
    assert verdicts.table(every=True).count("\n") > verdicts.table().count("\n")
    assert str(Verdicts()).endswith("0 inconclusive.")


def test_a_notebook_shows_a_table(verdicts):
    text = verdicts._repr_html_()
    Reader(text)
    assert text.count("<tr>") == len(verdicts.by_step()) + 1
    assert html.escape(verdicts.summary) in text and "fails as predicted" in text


# ------------------------------------------------------------------------------- the command


def test_the_command_writes_the_page(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(room, "drawable", lambda: False)
    path = tmp_path / "page.html"
    path.write_text("old")
    argv = ["verify", "--only", "other units", "--report", str(path)]
    assert main(argv) == 0 and "<article" in path.read_text() and [*tmp_path.iterdir()] == [path]
    once = path.read_bytes()
    assert main(argv) == 0 and path.read_bytes() == once
    capsys.readouterr()
    table = tmp_path / "own.csv"
    np.savetxt(table, np.random.default_rng(1).standard_normal((20, 1)), delimiter=",")
    assert main(["verify", str(table), "--only", "boundary term", "--report", str(path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["counts"]["holds"] == 1
    assert "own.csv: 20 rows x 1 columns" in path.read_text()


def test_the_short_page_has_a_line_and_a_counterexample_of_each_chapter(verdicts):
    figure = gallery.draw("two_terms")
    page = room.short_report(verdicts, pictures={4: figure})
    assert page == room.short_report(verdicts, pictures={4: figure}) and figure.title in page
    bare = re.sub(r"<svg.*?</svg>|<style.*?</style>|<math.*?</math>", " ", page, flags=re.S)
    assert len(re.sub(r"<[^>]+>", " ", bare).split()) <= 2500 and "http" not in bare
    titles = {chapter for chapter, _ in verdicts.by_step()}
    assert page.count('class="chapter"') == len(titles) <= page.count("<article") <= 2 * len(titles)
    assert f"<b>{verdicts.counts['holds']}</b>" in page and 'class="alarm"' not in page
    wrong = Verdicts([dataclasses.replace(verdicts[0], gap=1.0, holds=False, expected=True, predicted=0.0)])
    assert 'class="alarm"' in room.short_report(wrong, pictures={})
    with pytest.raises(ValueError, match="empty"):
        room.short_report([])


# ------------------------------------------------------------------------------- the lines that a reader may run


def verdict_of(name, subject, seed=0):
    """What `verify` says of one case of a step: of a line, on the first of its closed forms."""
    (step,) = (s for s in selected(name) if s.name == name)
    if step.kind == "line":
        (case,) = closed_forms(("gaussian",), seed, dims=(1,))[:1]
        return step(case)
    return next(v for v in step.settings(seed) if v.subject == subject)


def printed(code):
    """What lines print, as pairs of numbers (k, 2)."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(compile(code, "lines of the page", "exec"), {})
    return np.array([[float(word) for word in line.split()] for line in out.getvalue().splitlines()])


@pytest.mark.parametrize("seed", [0, pytest.param(3, marks=pytest.mark.nightly)])
@pytest.mark.parametrize("name", SNIPPETS)
def test_the_lines_of_a_step_run_as_they_stand_and_print_the_numbers_of_its_verdict(name, seed):
    """To 1e-9 of the numbers: rules of 100 nodes for networks whose softplus has its nearest pole at a distance of 3 from the axis."""
    subject, code = snippet(name, seed)
    v = verdict_of(name, subject, seed)
    assert v.subject == subject and v.ok and "SEED" not in code
    pairs = printed(code)
    assert np.min(np.max(np.abs(pairs - [v.left, v.right]), axis=1)) < 1e-9 * max(1, abs(v.left), abs(v.right))


def test_lines_with_another_number_in_them_do_not_print_those_of_the_verdict():
    """Negative control."""
    v, (_, code) = verdict_of("exponential data", "a = 2, b = 3: constant"), snippet("exponential data")
    (pair,) = printed(code.replace("b = 2.0, 3.0", "b = 2.0, 3.001"))
    assert abs(pair[0] - v.left) > 1e-4


@pytest.mark.parametrize("name", ["other units", *(pytest.param(s.name, marks=pytest.mark.nightly) for s in STEPS)])
def test_a_step_without_numpy_lines_has_the_call_that_computes_it(name):
    code = ANY.format(name=name, seed=0)
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(code, {})
    expected = [v for v in ns.verify(only=name) if v.step == name]
    assert all(f"{v.left} {v.right} {v.subject}" in out.getvalue() for v in expected) and expected


def test_both_pages_unfold_the_lines_and_the_short_one_shows_their_case(page, verdicts):
    short = room.short_report(verdicts, pictures={})
    assert page.count('<details class="code">') == len(verdicts.by_step())
    assert "# they differ by -ab" in short and "a</mi><mo" in short and short.count('<details class="code">') >= 2
    wrong = Verdicts(
        [dataclasses.replace(v, gap=1.0) if v.subject == "a = 0.5, b = 0.5: constant" else v for v in verdicts]
    )
    assert "# they differ by -ab" not in room.short_report(wrong, pictures={})  # what is wrong is shown in its place


def test_full_belongs_to_the_page(capsys):
    assert main(["verify", "--full"]) == 2 and "--full needs --report" in capsys.readouterr().err


@pytest.mark.parametrize("where", ["missing/page.html", ".", "file/page.html"])
def test_a_path_that_cannot_be_written_is_a_usage_error_before_the_work(tmp_path, capsys, monkeypatch, where):
    (tmp_path / "file").write_text("")
    monkeypatch.setattr("numpyscore.derivations.studies", lambda *a, **k: pytest.fail("the work had begun"))
    assert main(["verify", "--report", str(tmp_path / where)]) == 2
    out = capsys.readouterr()
    assert out.out == "" and out.err.count("\n") == 1 and str(tmp_path) in out.err


def test_a_device_is_not_replaced_by_a_page(capsys):
    assert main(["verify", "--only", "other units", "--report", "/dev/null"]) == 2
    assert "is no file" in capsys.readouterr().err


# ------------------------------------------------------------------------------- a real browser


@pytest.mark.skipif(PROGRAM is None, reason="no Chromium is installed")
@pytest.mark.nightly
@pytest.mark.parametrize("screens", [SCREENS[-1:], SCREENS], ids=["a phone", "all screens"])
def test_a_browser_shows_it(screens, verdicts, tmp_path):
    path = tmp_path / "page.html"
    path.write_text(report(verdicts), encoding="utf-8")
    steps = len(verdicts.by_step())
    with Chromium() as browser:
        for options in screens:
            browser.open(path, **options)
            assert browser.evaluate("document.documentElement.scrollWidth") <= options["width"]
            wide = "[...document.querySelectorAll('math')].filter(e => e.getBoundingClientRect().width > 5).length"
            assert browser.evaluate(wide) >= steps
            assert browser.evaluate("document.querySelectorAll('svg[role=img]').length") >= steps
            dark = browser.evaluate("getComputedStyle(document.body).backgroundColor")
            assert (dark == "rgb(20, 23, 26)") == bool(options.get("dark")), dark
        browser.call("Emulation.setEmulatedMedia", media="print")
        clipped = "[...document.querySelectorAll('.equation > span')].filter(e => getComputedStyle(e).overflowX != 'visible').length"
        assert (
            browser.evaluate(clipped) == 0
            and browser.evaluate(
                "getComputedStyle(document.querySelector('details') || document.querySelector('.skip')).display"
            )
            == "none"
        )
        assert browser.console == [] and {url.split(":")[0] for url in browser.requests} <= {"file", "about"}


@pytest.mark.nightly
@pytest.mark.skipif(PROGRAM is None, reason="no Chromium is installed")
def test_the_short_page_is_eight_screens_with_a_figure_on_the_first(tmp_path):
    """Of 1400 x 900; on a phone nothing scrolls sideways, the smallest letters of its figures have 9 pixels, and lines unfold."""
    found = Verdicts(seed=0)
    for chapter in CHAPTERS:
        names = [room.CHOSEN[chapter.number][0], *(s.name for s in chapter.steps if s.kind == "counterexample")][:2]
        found.extend(verdict_of(name, snippet(name)[0]) for name in names)
    path = tmp_path / "page.html"
    path.write_text(room.short_report(found), encoding="utf-8")
    top = "[...document.querySelectorAll('figure svg')].find(e => e.getBoundingClientRect().height).getBoundingClientRect()"
    with Chromium() as browser:
        browser.open(path, width=1400, height=900)
        assert browser.evaluate("document.documentElement.scrollHeight") <= 8 * 900
        assert browser.evaluate(f"{top}.bottom") <= 900
        for dark in (False, True):
            browser.open(path, width=390, height=844, phone=True, dark=dark)
            assert browser.evaluate("document.documentElement.scrollWidth") <= 390
            narrow = "[...document.querySelectorAll('figure .narrow svg, figure > div:not(.wide) svg')].map(e => e.getBoundingClientRect().width / e.viewBox.baseVal.width)"
            assert all(7.8 * scale >= 9 for scale in browser.evaluate(narrow)) and len(browser.evaluate(narrow)) == 8
            browser.evaluate("document.querySelectorAll('details').forEach(e => e.open = true)")
            assert browser.evaluate("document.documentElement.scrollWidth") <= 390
        assert browser.evaluate("document.querySelectorAll('details.code').length") == 16 and browser.console == []


@pytest.mark.skipif(PROGRAM is None, reason="no Chromium is installed")
def test_the_browser_notices_what_is_too_wide_and_what_complains(tmp_path):
    path = tmp_path / "bad.html"
    path.write_text(
        '<!DOCTYPE html><meta name=viewport content="width=device-width"><div style="width:700px">x</div><script>console.error(1)</script>'
    )
    with Chromium() as browser:
        browser.open(path, width=360, phone=True)
        assert browser.evaluate("document.documentElement.scrollWidth") > 360 and browser.console
