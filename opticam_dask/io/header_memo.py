"""What was worked out of one header serves all others that are alike where it matters."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, Generic, TypeVar

from opticam_dask.io.card_layout import CardLayout, picker
from opticam_dask.io.header_view import HeaderView

T = TypeVar("T")


class CardMemo(Generic[T]):
    """A function of headers that is not computed again for a header whose cards it looks at are known.

    The cards it looks at are noted while it runs. With the same keywords at the same places, and these cards
    the same to the byte, it would look at the same ones again and give the same result.

    Parameters
    ----------
    function : callable
        ``function(view, *more)``; it must look at the header through the view only, and not raise.
    """

    def __init__(self, function: Callable[..., T]) -> None:
        self._function = function
        self._known: dict[tuple[CardLayout, ...], list[_Path[T]]] = {}

    def __call__(self, view: HeaderView, *more: Hashable) -> T:
        """Give the function's result, worked out now or before."""
        paths = self._known.setdefault(view.layouts, [])
        for path in paths:
            found = path.results.get((path.cards(view), more))
            if found is not None:
                return found[0]
        view.forget_consulted()
        result = self._function(view, *more)
        consulted = view.consulted()
        if consulted is not None:
            path = self._path(paths, consulted)
            path.results[path.cards(view), more] = (result,)
        return result

    @staticmethod
    def _path(paths: list[_Path[T]], consulted: tuple[frozenset[int], ...]) -> _Path[T]:
        for path in paths:
            if path.consulted == consulted:
                return path
        paths.append(_Path(consulted))
        return paths[-1]


class _Path(Generic[T]):
    """Cards looked at in headers of one layout, and the results known for their contents."""

    def __init__(self, consulted: tuple[frozenset[int], ...]) -> None:
        self.consulted = consulted
        self.results: dict[Any, tuple[T]] = {}
        self._pickers = [picker(starts) for starts in consulted]
        self._only = self._pickers[0] if len(consulted) == 1 else None

    def cards(self, view: HeaderView) -> Any:
        """Give the cards looked at, as a header has them."""
        if self._only is not None:
            return self._only(view.cards[0].raw)
        return tuple(pick(cards.raw) for pick, cards in zip(self._pickers, view.cards, strict=True))
