"""Units in which a mapping may say that times, durations, amounts and counts are written."""

from __future__ import annotations

from decimal import Decimal

from ttplan.logs.fields import COUNT, INSTANT, MONEY, Field, ValueKind

_NUMBER = r"[+-]?(\d{1,20}(\.\d{0,30})?|\.\d{1,30})([eE][+-]?\d{1,2})?"
# Numbers are read as decimals, so that the text of a float loses no digit.
_DECIMAL = "TRY_CAST({c} AS DECIMAL(28, 9))"
_YEAR_2000, _YEAR_2100 = 946_684_800, 4_102_444_800
"""In seconds since 1970. A time outside of these years is in another unit."""
_GROUPED = r"\d{1,3}(,\d{3})+|\d{1,12}"
"""Whole numbers, with or without commas between thousands."""
_AMOUNT = (
    rf"(({_GROUPED})(\.\d{{0,400}})?|\.\d{{1,400}}|\d{{1,12}}(\.\d{{1,20}})?[eE][+-]?\d{{1,4}})"
)
_DOLLARS = r"(?i)((US)?\$|USD)? ?{amount} ?(USD|US\$|\$)?"
_CLOCKS = ("%H:%M:%S.%n", "%H:%M:%S", "%H:%M", "%I:%M:%S.%n %p", "%I:%M:%S %p", "%I:%M %p")


def _epoch(unit: str, example: str, per_second: int, micros: str) -> ValueKind:
    low, high = (f"{year * per_second}::BIGINT" for year in (_YEAR_2000, _YEAR_2100))
    return ValueKind(
        _NUMBER,
        f"CASE WHEN {_DECIMAL} BETWEEN {low} AND {high}"
        f" THEN make_timestamptz(CAST({_DECIMAL} * {micros} AS BIGINT)) END",
        f"{unit} since 1970, such as {example}, of a time from 2000 to 2099",
    )


def _dated(example: str, *dates: str) -> ValueKind:
    """Dates as people write them. Commas, spaces and separators are made alike first."""
    formats = ", ".join(f"'{date} {clock}'" for date in dates for clock in _CLOCKS)
    spaced = "regexp_replace({c}, '[,\\s\\x{{202f}}\\x{{a0}}]+', ' ', 'g')"
    slashed = f"regexp_replace({spaced}, '^(\\d+)[-.](\\d+)[-.](\\d+)', '\\1/\\2/\\3')"
    return ValueKind(
        r"(?i)\d{1,2}[/.-]\d{1,2}[/.-](\d{4}|\d\d),?[\s\x{202f}\x{a0}]+\d{1,2}:\d\d(:\d\d(\.\d{1,9})?)?"
        r"([\s\x{202f}\x{a0}]*[AP]M)?",
        f"CAST(try_strptime(regexp_replace({slashed}, '(?i) ?([AP]M)$', ' \\1'), [{formats}])"
        " AS TIMESTAMPTZ)",
        f"a time such as {example}",
    )


def _duration(unit: str, factor: str) -> ValueKind:
    return ValueKind(
        _NUMBER,
        f"CASE WHEN {_DECIMAL} BETWEEN 0 AND 999999999999999"
        f" THEN CAST(round({_DECIMAL} * {factor}) AS BIGINT) END",
        f"a duration in {unit}, not negative",
    )


def _money(unit: str, factor: str) -> ValueKind:
    """Amounts in a part of a USD, with or without a dollar sign and commas."""
    number = "replace(regexp_extract({c}, '[0-9.][0-9.,]*([eE][+-]?[0-9]+)?'), ',', '')"
    usd = f"TRY_CAST(TRY_CAST({number} AS DECIMAL(30, 17)){factor} AS DECIMAL(38, 12))"
    return ValueKind(
        _DOLLARS.format(amount=_AMOUNT),
        f"CASE WHEN {usd} < 1000000000000 THEN {usd} END",
        f"an amount in {unit}, not negative and below 10^12",
    )


TIMES = {
    "iso": INSTANT,
    "iso_utc": ValueKind(
        r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d([.,]\d{1,9})?)?(Z| UTC| GMT|[+-]\d\d(:?\d\d)?)?",
        "TRY_CAST(replace({c}, ',', '.') AS TIMESTAMPTZ)",
        "a time such as 2026-05-01T12:00:00, in UTC unless it says its zone",
    ),
    "epoch_s": _epoch("seconds", "1777636800", 1, "1000000"),
    "epoch_ms": _epoch("milliseconds", "1777636800000", 1_000, "1000"),
    "epoch_us": _epoch("microseconds", "1777636800000000", 1_000_000, "1"),
    "epoch_ns": _epoch("nanoseconds", "1777636800000000000", 1_000_000_000, "0.001"),
    "mdy": _dated("5/31/2026, 8:00:00 AM, the month first", "%m/%d/%y", "%m/%d/%Y"),
    "dmy": _dated("31/5/2026 08:00:00, the day first", "%d/%m/%y", "%d/%m/%Y"),
}
DURATIONS = {
    "ms": _duration("milliseconds", "1"),
    "s": _duration("seconds", "1000"),
    "us": _duration("microseconds", "0.001"),
    "ns": _duration("nanoseconds", "0.000001"),
    "interval": ValueKind(
        r"(?i)(PT)?(\d{1,9}(\.\d{1,9})? ?(h|m|s|ms|us|hours?|mins?|minutes?|secs?|seconds?) ?)+"
        r"|\d{1,9}:\d\d:\d\d(\.\d{1,9})?",
        "CAST(round(epoch_us(TRY_CAST(regexp_replace({c}, '^PT', '') AS INTERVAL)) / 1000)"
        " AS BIGINT)",
        "a duration such as 3.2s, 850ms, 1m 2s or 0:00:03.2",
    ),
}
MONIES = {
    "usd": _money("USD", ""),
    "cents": _money("US cents", " * 0.01"),
    "micro_usd": _money("millionths of a USD", " * 0.000001"),
    "nano_usd": ValueKind(
        r"\d{1,19}(\.\d{0,30})?",
        "CAST(TRY_CAST({c} AS DECIMAL(28, 9)) * 0.000000001 AS DECIMAL(38, 12))",
        "an amount in billionths of a USD, not negative",
    ),
}
COUNTS = {
    "tokens": ValueKind(
        rf"({_GROUPED})(\.0+)?",
        "TRY_CAST(replace({c}, ',', '') AS BIGINT)",
        "a whole number, not negative, such as 1,024",
    )
}
UNITS = TIMES | DURATIONS | MONIES | COUNTS
"""Units by their names in mappings. SQL sessions that read them use the time zone UTC."""
MAX_FACTOR_DIGITS = 13
"""How many digits a factor may have, with the zeros before its first."""


def units_of(field: Field) -> dict[str, ValueKind]:
    """The units in which a mapping may give a field."""
    if field.kind is INSTANT:
        return TIMES
    if field.kind is MONEY:
        return MONIES
    if field.kind is COUNT:
        return DURATIONS if field.name.endswith("_ms") else COUNTS
    return {}


def strptime(formats: tuple[str, ...]) -> ValueKind:
    """Times in one of some formats of strptime; UTC if a format has no zone."""
    listed = ", ".join("'" + text.replace("'", "''") + "'" for text in formats)
    value = f"CAST(try_strptime({{c}}, [{listed}]) AS TIMESTAMPTZ)"
    return ValueKind(r"(?s).{1,100}", value, f"a time in the format {' or '.join(formats)}")


def in_zone(kind: ValueKind, zone: str) -> ValueKind:
    """The times of a kind, read in a zone unless they say theirs."""
    says_zone = r"regexp_matches({c}, '(Z|UTC|GMT|[+-]\d\d(:?\d\d)?)$')"
    local = f"TRY(timezone('{zone}', timezone('UTC', {kind.value})))"
    return kind._replace(
        value=f"CASE WHEN {says_zone} THEN {kind.value} ELSE {local} END",
        expected=kind.expected.replace("in UTC", f"in {zone}"),
    )


def multiplied(text: str, factor: Decimal) -> str:
    """SQL: a number's text times a factor, as a text. Other texts stay as they are."""
    literal = f"{factor:f}" if "." in f"{factor:f}" else f"{factor:f}.0"
    digits = len(literal) - 1
    places = min(12, 25 - digits)
    amount = f"TRY_CAST({text} AS DECIMAL({13 + places}, {places}))"
    return f"coalesce(CAST({amount} * {literal} AS VARCHAR), {text})"
