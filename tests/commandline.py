"""The command line as the tests call it, within their process."""

from numpyscore.cli import main


def call(capsys, *argv):
    """Exit code, stdout, stderr of numpyscore with these words."""
    try:
        code = main([*map(str, argv)])
    except SystemExit as error:
        code = error.code
    out = capsys.readouterr()
    return code, out.out, out.err
