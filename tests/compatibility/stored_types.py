"""Output types of the fixture's requests. Stored results name them: neither names nor fields may change."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from enum import Enum
from typing import Generic

from pydantic import BaseModel, Field
from typing_extensions import TypedDict, TypeVar

T = TypeVar("T")


class Mood(Enum):
    """An enumeration."""

    GOOD = "good"
    BAD = "bad"


class Product(BaseModel):
    """A flat model, with an alias."""

    name: str
    price: Decimal
    in_stock: bool = Field(alias="inStock")


class Page(BaseModel, Generic[T]):
    """A generic model."""

    items: list[T]
    following: int | None = None


class Shipment(BaseModel):
    """A model with values that JSON has no types for."""

    sent_at: datetime
    due: date
    weights: tuple[float, int]
    labels: set[str]
    mood: Mood
    pages: Page[Product]


@dataclass
class Place:
    """A dataclass."""

    city: str
    population: int | None = None


class Terms(TypedDict):
    """A typed dictionary."""

    days: int
    currency: str
