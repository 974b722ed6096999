"""What `dust3r-sfm features` says: the matchers, what their weights are, and how they come here."""

from collections.abc import Iterator

from dust3r_sfm.errors import InputError
from dust3r_sfm.features.download import download
from dust3r_sfm.features.matcher import MatcherInfo, list_matchers
from dust3r_sfm.features.weights import find


def matcher_lines() -> Iterator[str]:
    """Every matcher: what it is good for, its licence, and its weights."""
    for matcher in list_matchers():
        yield matcher.name
        yield f"    {matcher.summary}"
        yield f"    licence: {matcher.licence}"
        yield f"    weights: {_state(matcher)}"
        for file in matcher.files:
            where = find(file) or "not on this machine"
            yield f"        {file.name}  {file.num_bytes / 1e6:.1f} MB  {file.licence}  {file.origin}  {where}"


def get_weights(name: str) -> Iterator[str]:
    """Get the weights of a matcher, and say what they are and where.

    Raises:
        InputError: no matcher has this name, or none is given.
        WeightsError: there is no connection, or what comes is another file.
        OutputError: the disk is full, or the cache cannot be written.
    """
    known = {matcher.name: matcher for matcher in list_matchers() if matcher.files}
    if name not in known:
        given = f"'{name}' is none of them" if name else "none was named"
        raise InputError(f"Weights can be had for {', '.join(known)}, and {given}; name the matcher that you want.")
    files = known[name].files
    for file, path in zip(files, download(files), strict=True):
        yield f"{file.name:<22}{file.num_bytes / 1e6:.1f} MB, licence {file.licence}, {file.origin}"
        yield f"{'':<22}{path}"


def _state(matcher: MatcherInfo) -> str:
    if not matcher.files:
        return "none needed"
    if not matcher.missing:
        return "installed"
    size = sum(file.num_bytes for file in matcher.missing) / 1e6
    return f"{size:.0f} MB to get with `dust3r-sfm features get {matcher.name}`"
