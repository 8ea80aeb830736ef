"""Units that are said in sentences, and conversion between them. Sources: SI Brochure (9th ed.), NIST SP 811.

A unit is a number of its quantity's base unit: `value · factor + offset`, exact, so that 1 inch is 25.4 mm.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Context, Decimal
from fractions import Fraction
from functools import cache

SIGNIFICANT_DIGITS = 9  # of a converted value


@dataclass(frozen=True, slots=True)
class Unit:
    """`names` are how it is spoken and written, in every language; the first one is what packs call it."""

    quantity: str
    names: tuple[str, ...]
    factor: Fraction
    offset: Fraction = Fraction(0)


# quantity · name in packs, other names · factor
_TABLE = """
rotation     rpm|revolutions per minute|revs per minute|umdrehungen|umdrehungen pro minute|u/min|1/min  1
rotation     rps|revolutions per second|umdrehungen pro sekunde                                         60
frequency    Hz|hertz                                                                                   1
frequency    kHz|kilohertz                                                                              1000
pressure     Pa|pascal|pascals                                                                          1
pressure     kPa|kilopascal|kilopascals                                                                 1000
pressure     MPa|megapascal|megapascals                                                                 1000000
pressure     mbar|millibar|millibars                                                                    100
pressure     bar|bars                                                                                   100000
pressure     psi|pounds per square inch                                                                 6894.757293168
length       mm|millimetre|millimetres|millimeter|millimeters|millimetern                               0.001
length       cm|centimetre|centimetres|centimeter|centimeters|zentimeter|zentimetern                    0.01
length       m|metre|metres|meter|meters|metern                                                         1
length       in|inch|inches|zoll                                                                        0.0254
length       ft|foot|feet|fuß                                                                           0.3048
speed        mm/s|millimetres per second|millimeters per second|millimeter pro sekunde                  0.001
speed        mm/min|millimetres per minute|millimeters per minute|millimeter pro minute                 1/60000
speed        m/min|metres per minute|meters per minute|meter pro minute                                 1/60
speed        m/s|metres per second|meters per second|meter pro sekunde                                  1
time         ms|millisecond|milliseconds|millisekunde|millisekunden                                     0.001
time         s|sec|second|seconds|sekunde|sekunden                                                      1
time         min|minute|minutes|minuten                                                                 60
time         h|hour|hours|stunde|stunden                                                                3600
mass         g|gram|grams|gramm                                                                         0.001
mass         kg|kilo|kilos|kilogram|kilograms|kilogramm                                                 1
mass         t|tonne|tonnes|tonnen                                                                      1000
mass         oz|ounce|ounces|unze|unzen                                                                 0.028349523125
mass         lb|pound|pounds                                                                            0.45359237
force        N|newton|newtons                                                                           1
force        kN|kilonewton|kilonewtons                                                                  1000
torque       Nm|newton metre|newton metres|newton meter|newton meters|newtonmeter                       1
volume       ml|millilitre|millilitres|milliliter|milliliters                                           0.001
volume       l|litre|litres|liter|liters|litern                                                         1
flow         l/min|litres per minute|liters per minute|liter pro minute                                 1
voltage      V|volt|volts                                                                               1
current      A|amp|amps|ampere|amperes                                                                  1
power        W|watt|watts                                                                               1
power        kW|kilowatt|kilowatts                                                                      1000
ratio        %|percent|per cent|prozent                                                                 1
angle        deg|°|degree|degrees|grad                                                                  1
temperature  K|kelvin                                                                                   1
"""
_CELSIUS = (
    "°C|° c|celsius|degrees celsius|degree celsius|grad celsius|degrees|degree|grad|°|centigrade|degrees centigrade"
)
_FAHRENHEIT = "°F|° f|fahrenheit|degrees fahrenheit|degree fahrenheit|grad fahrenheit"


@cache
def units() -> dict[str, Unit]:
    """Every unit by the name that packs give it."""
    found = []
    for line in _TABLE.strip().splitlines():
        quantity, rest = line.split(maxsplit=1)
        names, factor = rest.rsplit(maxsplit=1)
        found.append(Unit(quantity, tuple(names.strip().split("|")), Fraction(factor)))
    zero = Fraction("273.15")
    found.append(Unit("temperature", tuple(_CELSIUS.split("|")), Fraction(1), zero))
    found.append(Unit("temperature", tuple(_FAHRENHEIT.split("|")), Fraction(5, 9), zero - 32 * Fraction(5, 9)))
    return {unit.names[0]: unit for unit in found}


@cache
def compatible(name: str) -> tuple[Unit, ...]:
    """The units in which a value can be said that is wanted in `name`. Empty where the table has no such unit."""
    wanted = units().get(name)
    if wanted is None:
        return ()
    return tuple(unit for unit in units().values() if unit.quantity == wanted.quantity)


def convert(value: Decimal, said: Unit, wanted: str) -> Decimal:
    """`value`, in the unit that was said, in the unit that is wanted."""
    target = units()[wanted]
    if said == target:
        return value
    exact = (Fraction(value) * said.factor + said.offset - target.offset) / target.factor
    context = Context(prec=SIGNIFICANT_DIGITS)
    return context.divide(Decimal(exact.numerator), Decimal(exact.denominator)).normalize(context)
