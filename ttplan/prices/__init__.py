"""Prices of models: the catalogue's, and the user's own price file."""

from ttplan.prices.book import PriceBook, PriceSource
from ttplan.prices.catalogue import Quote, catalogue_price, catalogue_schedule, catalogue_version
from ttplan.prices.price_file import read_price_file, read_prices
from ttplan.prices.schedule import Period, Schedule, Tier
from ttplan.prices.table import PriceTable, price_table

__all__ = [
    "Period",
    "PriceBook",
    "PriceSource",
    "PriceTable",
    "Quote",
    "Schedule",
    "Tier",
    "catalogue_price",
    "catalogue_schedule",
    "catalogue_version",
    "price_table",
    "read_price_file",
    "read_prices",
]
