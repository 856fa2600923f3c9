"""The page with sliders: small, without network, and its numbers are those of the package, asked of a real browser."""

import re

import numpy as np
import pytest
from chromium import PROGRAM, Chromium

import numpyscore as ns
from numpyscore.cli import main
from numpyscore.display.explore import WIDTH, explore

SCREENS = ((360, False, True), (390, True, True), (1280, False, False))  # width, dark, phone
WALLS = [(-5, 0.8, 1.4), (0, 0.8, 1.4), (0.7, -1, 0.6), (1.5, 2, 3)]


def call(capsys, *argv):
    try:
        code = main(["explore", *map(str, argv)])
    except SystemExit as error:
        code = error.code
    out = capsys.readouterr()
    return code, out.out, out.err


def differences(browser, x):
    """The largest misses of the page's functions against the package: areas, field, forces, Langevin."""
    miss = {"areas": 0.0, "field": 0.0, "forces": 0.0, "langevin": 0.0, "flow": 0.0}
    worse = lambda key, a, b: miss.update({key: max(miss[key], float(np.max(np.abs(np.subtract(a, b)))))})
    for a, m, v in WALLS:
        data, model = ns.TruncatedGaussian(0.0, 1.0, lower=a, upper=np.inf), ns.Gaussian(m, v)
        cross = float(ns.expectation(lambda x, d=data, s=model: np.sum(d.score(x) * s.score(x), 1), data))
        found = browser.evaluate(f"(({{cross,slope,rim}})=>[cross,slope,rim])(areas({a},{m},{v}))")
        worse("areas", found, [cross, float(ns.expectation(model.trace, data)), float(ns.flux(model.score, data))])
    points = np.random.default_rng(0).normal(size=(5, 2))
    for sigma in (0.1, 0.5, 2.0):
        found = [browser.evaluate(f"score({u},{t},{sigma})") for u, t in points]
        worse("field", found, ns.Parzen(x, WIDTH).perturbed(sigma).score(points))
    family = lambda sigma: ns.Parzen(x, WIDTH).perturbed(sigma)
    a, b = 1.5, 1.4
    there = points + (a - b) * a * family(a).score(points)
    exact = (
        points + (a - b) * (a * family(a).score(points) + b * family(b).score(there)) / 2
    )  # Heun's step of dx/dsigma = -sigma s
    worse("flow", [browser.evaluate(f"move([{p},{q}],{a},{b})") for p, q in points], exact)
    data = np.random.default_rng(1).normal(size=(50, 1))
    q = float(np.mean(data**2))
    for theta in (0.4, 1.7):
        score, trace = -theta * data, np.full(50, -theta)
        worse("forces", browser.evaluate(f"loss({theta},{q!r})"), float(np.mean(ns.implicit_loss(score, trace))))
    worse("forces", browser.evaluate(f"best({q!r})"), 1 / q)
    for m in (0.0, 1.0, 4.0):
        p = ns.GaussianMixture([0.2, 0.8], [[-m], [m]], 1.0)
        z = np.linspace(-6, 6, 9)[:, None]
        worse("langevin", [browser.evaluate(f"mixscore({v},{m}) + 0") for v in z[:, 0]], p.score(z)[:, 0])
        worse("langevin", [browser.evaluate(f"mixture({v},{m})") for v in z[:, 0]], np.exp(p.logpdf(z)))
        step = z + 0.3 * p.score(z) + np.sqrt(0.6) * 0.7
        worse("langevin", [browser.evaluate(f"langevin({v},0.3,0.7,{m})") for v in z[:, 0]], step[:, 0])
    return miss


@pytest.mark.skipif(PROGRAM is None, reason="no Chromium is installed")
@pytest.mark.parametrize(
    "screens", [SCREENS[:1], pytest.param(SCREENS, marks=pytest.mark.nightly)], ids=["a phone", "all screens"]
)
def test_a_browser_computes_what_the_package_computes_and_asks_nobody(screens, tmp_path):
    page = tmp_path / "page.html"
    page.write_text(explore(), encoding="utf-8")
    x = np.round(ns.standardise(ns.old_faithful()).x, 5)
    with Chromium() as browser:
        browser.open(page, width=1280)
        found = differences(browser, x)
        assert max(found.values()) < 1e-8, found
        browser.evaluate("globalThis.right = score; score = (x, y, s) => right(x, y, s * 1.0001)")
        assert differences(browser, x)["field"] > 1e-6  # control: a field that is a little off is noticed
        for width, dark, phone in screens:
            browser.open(page, width=width, dark=dark, phone=phone)
            assert browser.evaluate("document.documentElement.scrollWidth") <= width
            tall = browser.evaluate("document.documentElement.scrollHeight")
            browser.evaluate("all();all();walk(20);chains();while(down());field()")
            assert (
                abs(browser.evaluate("document.documentElement.scrollHeight") - tall) <= 30
            )  # no canvas grows when drawn again
            sizes = browser.evaluate(
                "[...document.querySelectorAll('canvas')].map(c => [c.clientWidth * devicePixelRatio, c.width])"
            )
            assert all(abs(a - b) <= 1 for a, b in sizes)
        before = browser.evaluate("document.querySelector('#areas').textContent")
        browser.evaluate("wa.focus()")
        for kind in ("keyDown", "keyUp"):
            browser.call("Input.dispatchKeyEvent", type=kind, key="End", code="End", windowsVirtualKeyCode=35)
        assert (
            browser.evaluate("wa.value") == "1.5"
            and browser.evaluate("document.querySelector('#areas').textContent") != before
        )
        assert not [r for r in browser.requests if not r.startswith(("file:", "data:"))] and not browser.console


def test_the_page_is_small_labelled_and_refers_to_nothing_outside():
    page = explore(np.random.default_rng(0).normal(size=(5000, 2)), "mine & <yours>")
    assert len(page.encode()) <= 80_000 and "mine &amp; &lt;yours&gt; (1000 rows of it)" in page and "__" not in page
    assert not re.search(r"https?:|src=|@import|url\(", page)
    assert len(re.findall(r"<label><span>.+?</span><input id=", page)) == page.count("<input ") == 8
    assert explore() == explore()


def test_the_command_writes_a_readers_own_data(tmp_path, capsys):
    data, page = tmp_path / "my.csv", tmp_path / "page.html"
    data.write_text("a,b,c\n" + "\n".join(f"{k},{k * k % 7},{k}" for k in range(12)))
    assert call(capsys, data, "--out", page)[0] == 2
    code, out, err = call(capsys, data, "--columns", "a,b", "--out", page)
    assert (
        code == 0 and out.strip() == str(page) and err == "" and "my.csv with noise" in page.read_text(encoding="utf-8")
    )


@pytest.mark.parametrize(
    "argv, said",
    [
        ([], "--out"),
        (["--columns", "0,1", "--out", "p.html"], "--columns needs"),
        (["gone.csv", "--out", "p.html"], "gone.csv"),
    ],
)
def test_wrong_usage_is_a_line(argv, said, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, err = call(capsys, *argv)
    assert code == 2 and out == "" and said in err and err.count("\n") == 1


@pytest.mark.parametrize("data, said", [(np.ones((5, 3)), "two columns"), (np.ones((5, 2)), "constant")])
def test_data_that_make_no_plane_are_refused(data, said):
    with pytest.raises(ValueError, match=said):
        explore(data)
