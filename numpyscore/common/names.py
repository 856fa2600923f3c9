"""Names that people try: the nearest one there is, and what other libraries call the same thing."""

import difflib
import functools
from typing import Any


def shortened(message):
    """A message that echoes what came, which may be 100,000 characters: its beginning and its end."""
    return (
        message
        if len(message) <= 2000
        else f"{message[:800]} [... {len(message) - 1600} characters ...] {message[-800:]}"
    )


def nearest(word, known):
    """The known name that a misspelt word is nearest to, as a question to put behind an error: " (did you mean fit?)", or ""."""
    plain = {str(name).lower(): str(name) for name in known}
    word = str(word).lower()
    found = difflib.get_close_matches(word, plain, 1) if len(word) < 200 else []
    return f" (did you mean {plain[found[0]]}?)" if found else ""


# what scikit-learn, SciPy, torch.distributions and others call it -> (the attribute here, what to write)
HABITS = {
    "score_samples": ("logpdf", "logpdf(x): log p of each row"),
    "log_prob": ("logpdf", "logpdf(x)"),
    "log_pdf": ("logpdf", "logpdf(x)"),
    "pdf": ("logpdf", "np.exp(logpdf(x))"),
    "prob": ("logpdf", "np.exp(logpdf(x))"),
    "predict": ("logpdf", "logpdf(x) for log p of each row, score(x) for its gradient in x"),
    "predict_proba": ("logpdf", "logpdf(x) for log p of each row"),
    "rvs": ("sample", "sample(n, rng=seed)"),
    "rsample": ("sample", "sample(n, rng=seed)"),
    "resample": ("sample", "sample(n, rng=seed)"),
    "grad_log_prob": ("score", "score(x)"),
    "gradient": ("score", "score(x): the gradient of log p in x"),
    "transform": ("units", "units.to_standard(x)"),
    "inverse_transform": ("units", "units.to_data(z)"),
    "get_params": ("summary", "summary, a dictionary"),
    "state_dict": ("model", "model.layers, or model.save(path)"),
    "params": ("model", "model.theta, model.layers"),
    "parameters": ("model", "model.theta, model.layers"),
    "theta": ("model", "model.theta"),
    "layers": ("model", "model.layers"),
    "save": ("model", "fit(..., out=folder), which writes model.npz with the units; model.save(path) has none"),
    "loss": ("history", "history, summary['held_out']"),
    "loss_": ("history", "history, summary['held_out']"),
    "columns": ("units", "units.columns"),
    "fit": ("summary", "what fit(data) returned; fit other data by numpyscore.fit(data)"),
}


def missing(thing, name, elsewhere=None):
    """The AttributeError for a name that a thing does not have, with the right one where it is known under another or misspelt.

    For ``__getattr__``: called where nothing else was found. elsewhere : name -> what to write in its place, of this kind of thing.
    """
    kind: Any = type(thing)
    said = f"{kind.__name__} has no attribute {name!r}"
    if not name.startswith("_"):
        said += f"; here it is {elsewhere[name]}" if elsewhere and name in elsewhere else _instead(kind, name)
    return AttributeError(said)


@functools.lru_cache(maxsize=1024)  # hasattr asks as well, in every step of an integration
def _instead(kind, name):
    """What a class has in place of a public name that it does not have, as the end of a message."""
    here, write = HABITS.get(name, ("", ""))
    public = [n for n in dir(kind) if not n.startswith("_")]
    return f"; here it is {'.' * write.startswith(here)}{write}" if here in public else nearest(name, public)


def having(where, name, thing, *parts, cure=""):
    """Refuse a thing that lacks one of these attributes, with the cure: a class in place of an object, a bare function, or what is told.

    Raises
    ------
    TypeError
    """
    if isinstance(thing, type):
        raise TypeError(f"{where}: {name} is {kind_of(thing)}; make one, {thing.__name__}(...), and pass that.")
    scipy = str(type(thing).__module__).startswith("scipy.stats")  # its support is a method, its logpdf takes numbers
    if all(hasattr(thing, part) for part in parts) and not scipy:
        return
    if not cure and scipy:
        cure = "verify and verify_line take distributions of SciPy; here wrap it, or use one of ours"
    elif not cure and callable(thing) and "score" in parts:
        cure = "a bare score function is made one by types.SimpleNamespace(score=f)"
    elif not cure and "logpdf" in parts and hasattr(thing, "energy"):
        cure = "a network's log p needs its normaliser: -energy(x) - log_normaliser(network)[0]"
    what = ", ".join(f".{part}" for part in parts)
    raise TypeError(f"{where}: {name} is {kind_of(thing)}, expected something with {what}{cure and '; '}{cure}.")


def kind_of(thing):
    """What a thing is, in words: "a Gaussian", "the class Gaussian, not one of its objects", "a function"."""
    if isinstance(thing, type):
        return f"the class {thing.__name__}, not one of its objects"
    name = "function" if callable(thing) and hasattr(thing, "__code__") else type(thing).__name__
    return f"{'an' if name[0] in 'aeiouAEIOU' or name == 'ndarray' else 'a'} {name}"
