"""`numpyscore figures`: the figures, each claim asserted in numbers before it is drawn."""

import argparse
import math
import os

from ..common.files import write_whole
from ..common.names import nearest
from ..display import gallery
from ..display.plots import FORMATS
from .terminal import DIFFERENCE, FINE, Progress, may_be_written, no_stdout

SLIDE_HEIGHT, SLIDE_FONT = 7.5, 16.0  # inches, points
HELP = "draw the figures, each after asserting its claim"


def arguments(parser):
    """The options of `numpyscore figures`."""
    parser.description = (
        "Draw figures, as SVG for a page, or for slides. Each script first asserts in numbers what its figure claims."
    )
    parser.epilog = "exit codes: 0 drawn, 1 a claim does not hold, 2 usage error or no matplotlib"
    parser.add_argument("names", nargs="*", metavar="NAME", help="which (default: all of them)")
    parser.add_argument("--out", metavar="DIR", help="folder for the pictures, made if it is missing")
    parser.add_argument(
        "--format", type=_formats, metavar="A,B", help="for slides, text as text and the claim as title: svg, png, pdf"
    )
    parser.add_argument(
        "--size",
        type=_size,
        metavar="16:9",
        help="of the slide: a ratio, or inches such as 10x5 (default: the figure's own)",
    )
    parser.add_argument(
        "--font-size",
        type=_points,
        metavar="N",
        help="of the text, in points, on a slide that the picture fills (default 16 with --size, else 9)",
    )
    parser.add_argument("--list", action="store_true", help="name the figures and what they claim, and stop")


def run(args):
    """Draw; returns the exit code."""
    known = gallery.scripts()
    slides = {"formats": args.format, "size": args.size, "font_size": args.font_size}
    if args.list and (args.names or args.out is not None or any(slides.values())):
        raise ValueError("--list stands alone: it has no use for NAME, --out and how a picture is drawn")
    if args.list:
        for name in known:
            script = gallery.load(name)
            print(f"{name:<20} {script.CHAPTER}  {script.__doc__.partition(chr(10))[0]}")
        return FINE
    for name in args.names:
        gallery.load(name)
    if args.out is None:
        raise ValueError("--out DIR is missing: the folder to put the pictures in")
    no_stdout(args.out)
    if not gallery.drawable():
        raise ValueError(gallery.NO_MATPLOTLIB)
    os.makedirs(args.out, exist_ok=True)
    forms = args.format or ("svg",)
    paths = {name: {form: os.path.join(args.out, f"{name}.{form}") for form in forms} for name in args.names or known}
    for path in (path for group in paths.values() for path in group.values()):
        may_be_written(path)
    progress, wrong = Progress("drawing"), []
    for name, group in paths.items():
        progress.say(f"drawing {name} ...")
        try:
            drawn = _drawn(name, slides, forms)
        except AssertionError as error:
            wrong.append(name)
            progress.clear()
            print(f"{name}: its claim does not hold: {' '.join(str(error).split())}")
        else:
            progress.clear()
            for form, path in group.items():
                write_whole(path, drawn[form])
                print(path)
    return DIFFERENCE if wrong else FINE


def _drawn(name, slides, forms):
    """The picture in each format; as it stands in a page, or for slides where anything was said of them."""
    if not any(slides.values()):
        return {"svg": gallery.draw(name).file.encode()}
    font_size = slides["font_size"] or (SLIDE_FONT if slides["size"] else None)
    return gallery.slides(name, forms, slides["size"], font_size)


def _formats(text):
    """The type of --format."""
    found = tuple(dict.fromkeys(word.strip().lower() for word in text.split(",")))
    if wrong := [word for word in found if word not in FORMATS]:
        raise argparse.ArgumentTypeError(
            f"{wrong[0]!r} is no format; of {', '.join(FORMATS)} several may be given{nearest(wrong[0], FORMATS)}"
        )
    return found


def _size(text):
    """The type of --size: a:b, as high as a slide, or inches WxH."""
    try:
        ratio = ":" in text
        a, b = map(float, text.split(":" if ratio else "x"))
        width, height = (SLIDE_HEIGHT * a / b, SLIDE_HEIGHT) if ratio else (a, b)
    except (ValueError, ZeroDivisionError):
        width = height = math.nan
    if not (1 <= width <= 100 and 1 <= height <= 100):
        raise argparse.ArgumentTypeError(
            f"{text!r} is no size; a ratio such as 16:9, or inches from 1 to 100 such as 10x5, was expected"
        )
    return width, height


def _points(text):
    """The type of --font-size."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 4 <= number <= 100:
        raise argparse.ArgumentTypeError(f"{text!r} is no font size; points from 4 to 100 were expected")
    return number
