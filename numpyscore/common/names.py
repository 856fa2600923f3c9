"""Names that people try: the nearest one there is, and what other libraries call the same thing."""

import difflib


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
}


def missing(thing, name):
    """The AttributeError for a name that a thing does not have, with the right one where it is known under another or misspelt.

    For ``__getattr__``: called where nothing else was found.
    """
    kind = type(thing)
    said = f"{kind.__name__} has no attribute {name!r}"
    if not name.startswith("_"):
        here, write = HABITS.get(name, ("", ""))
        public = [n for n in dir(kind) if not n.startswith("_")]
        if here in public:
            said += f"; here it is .{write}"
        else:
            said += nearest(name, public)
    return AttributeError(said)


def kind_of(thing):
    """What a thing is, in words: "a Gaussian", "the class Gaussian, not one of its objects", "a function"."""
    if isinstance(thing, type):
        return f"the class {thing.__name__}, not one of its objects"
    name = "function" if callable(thing) and hasattr(thing, "__code__") else type(thing).__name__
    return f"{'an' if name[0] in 'aeiouAEIOU' else 'a'} {name}"
