"""What a function that passes options on says of one that none of those it calls knows.

Read next: ``options.py`` (the options themselves).
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection, Iterable
from inspect import Parameter, signature
from typing import Any

from distlasso.path.options import parse

_ELSEWHERE = {  # names that scikit-learn and glmnet have for the same thing
    "alpha": "lambdas", "alphas": "lambdas", "cv": "folds", "eps": "lambda_min_ratio", "family": "loss", "groups": "folds",
    "lambda_": "lambdas", "n_alphas": "n_lambdas", "nfolds": "folds", "weights": "sample_weight",
}  # fmt: skip


def check_options(
    given: Iterable[str], function: Callable[..., Any], *through: Callable[..., Any], refused: Collection[str] = ()
) -> None:
    """Refuse the name of an option that nobody knows.

    Parameters
    ----------
    given : iterable of str
        Names.
    function : callable
        Whom the user has called; it speaks of the options that it refuses itself, for a reason of their own.
    through : callables
        Whom it passes options to, beside what takes those of a path.
    refused : collection of str
        Options of a path that it does not take.

    Raises
    ------
    TypeError
        As Python has it, with the option that may have been meant, or all of them.
    """
    named = (own for one in (function, *through, parse) for own in signature(one).parameters.values())
    known = sorted({own.name for own in named if own.kind is Parameter.KEYWORD_ONLY} - set(refused))
    for name in given:
        if name in known or name in refused:
            continue
        meant = [_ELSEWHERE[name]] if _ELSEWHERE.get(name) in known else difflib.get_close_matches(name, known, 1)
        hint = f"did you mean {meant[0]!r}?" if meant else f"its options are {', '.join(known)}"
        raise TypeError(f"{function.__name__}() got an unexpected keyword argument {name!r}: {hint}")
