"""Random tools, of every kind that a grammar can enforce, and random values that calls can hold."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from hypothesis import strategies as st

from streamd.core.tools.tool import Tool

NAMES = st.text("abcxyzABC_019.-ä", min_size=1, max_size=6)
_ODD = ["", "{a:1}", '"quoted"', "a,b}]", "press 1", "Übergröße", "héllo 😀", "call:go{", "<b>", "\\n"]
_PLAIN = st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="<|\u2028\u2029")  # no <eos> and the like
TEXTS = st.text(_PLAIN, max_size=8) | st.sampled_from(_ODD)
PATTERNS = st.sampled_from(
    [r"^[A-Z]{2}-\d{3}$", r"^(on|off|auto)$", r"\d", r"^\w+", r"^x[^a-f]y", r"^(?:a|b.)*$", r"^[^0-9,\-]+$", r"^a/b\.$"]
)
NUMBERS = st.integers(-400, 400) | st.decimals(-50, 50, places=2).map(float) | st.integers(-(10**12), 10**12)


@st.composite
def _limits(draw: st.DrawFn, steps: st.SearchStrategy[Any], *, integer: bool) -> dict[str, Any]:
    """Limits with a number between them."""
    schema: dict[str, Any] = {}
    inside = Decimal(str(draw(st.integers(-300, 300))))
    if draw(st.booleans()):
        step = Decimal(str(draw(steps)))
        schema["multipleOf"] = int(step) if step == int(step) else float(step)
        inside *= step
    for name, side in (("inimum", -1), ("aximum", 1)):
        most = 60 if "multipleOf" in schema else 10_000_000
        far = draw(st.integers(0, most) | st.sampled_from([Decimal("0.25"), Decimal("0.001")]))
        exclusive = draw(st.booleans()) and far != 0
        if "multipleOf" in schema or draw(st.booleans()):
            limit = inside + side * Decimal(far)
            given = int(limit) if limit == int(limit) else float(limit)
            schema[f"exclusiveM{name}" if exclusive else f"m{name}"] = given
    return {"type": "integer" if integer else "number", **schema}


@st.composite
def _strings(draw: st.DrawFn) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "string"}
    if draw(st.booleans()):
        schema["pattern"] = draw(PATTERNS)
        return schema
    least = draw(st.integers(0, 3))
    if least:
        schema["minLength"] = least
    return schema | {"maxLength": least + draw(st.integers(0, 6))}


@st.composite
def _choices(draw: st.DrawFn) -> dict[str, Any]:
    kind, values = draw(
        st.sampled_from(
            [("string", TEXTS), ("integer", st.integers(-99, 9_999)), ("number", NUMBERS), ("boolean", st.booleans())]
        )
    )
    listed = draw(st.lists(values, min_size=1, max_size=4, unique_by=str))
    return {"type": kind} | ({"const": listed[0]} if draw(st.booleans()) else {"enum": listed})


def _scalars() -> st.SearchStrategy[dict[str, Any]]:
    return st.one_of(
        _strings(),
        _choices(),
        st.just({"type": "boolean"}),
        _limits(st.integers(1, 50), integer=True),
        _limits(st.sampled_from([0.5, 0.1, 0.25, 2, 2.5, 0.01]), integer=False),
    )


@st.composite
def _arrays(draw: st.DrawFn, items: st.SearchStrategy[dict[str, Any]]) -> dict[str, Any]:
    least = draw(st.integers(0, 2))
    return {"type": "array", "items": draw(items), "minItems": least, "maxItems": least + draw(st.integers(0, 2))}


@st.composite
def objects(draw: st.DrawFn, values: st.SearchStrategy[dict[str, Any]]) -> dict[str, Any]:
    """Schemas of objects whose properties have the schemas `values`."""
    properties = draw(st.dictionaries(NAMES, values, max_size=4))
    schema: dict[str, Any] = {"type": "object", "properties": properties}
    if draw(st.booleans()) and properties:
        schema["required"] = [name for name in sorted(properties) if draw(st.booleans())]
    closed: dict[str, Any] = {"additionalProperties": False} if draw(st.booleans()) else {}
    return schema | closed


SCHEMAS = st.recursive(_scalars(), lambda inner: _arrays(inner) | objects(inner), max_leaves=6)

TOOLS = st.lists(
    st.builds(Tool, NAMES, st.just("Does something."), objects(SCHEMAS)),
    min_size=1,
    max_size=3,
    unique_by=lambda tool: tool.name,
)

VALUES: st.SearchStrategy[Any] = st.recursive(
    st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=8,
)
