"""Output types that tests ask for. They stand in a module, since what is stored has to be found again by its name."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Generic, TypeVar
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, RootModel
from pydantic.dataclasses import dataclass as pydantic_dataclass
from typing_extensions import TypedDict

T = TypeVar("T")


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Size(enum.IntEnum):
    SMALL = 1
    LARGE = 2


class Capital(BaseModel):
    city: str
    population: int = 0


class Renamed(BaseModel):
    """Its JSON names are others than its Python names."""

    city_name: str = Field(alias="cityName")


class OneWay(BaseModel):
    """It is read by another name than it is written by, and written by it by default."""

    model_config = ConfigDict(serialize_by_alias=True)

    city_name: str = Field(validation_alias="cityName", serialization_alias="CITY")
    inner: Renamed


@pydantic_dataclass(frozen=True)
class Aliased:
    city_name: str = Field(alias="cityName")


class Cities(RootModel[list[Capital]]):
    pass


class Trip(BaseModel):
    stops: list[Capital]
    at: datetime
    price: Decimal
    colour: Colour
    tags: set[str]
    pair: tuple[int, str]
    note: str | None = None


class Box(BaseModel, Generic[T]):
    content: T


@dataclass(frozen=True)
class Point:
    x: float
    y: float


@dataclass(frozen=True)
class Line:
    begin: Point
    end: Point
    colour: Colour


class Movie(TypedDict):
    title: str
    year: int


class Outer:
    class Inner(BaseModel):
        number: int


ID = UUID("12345678-1234-5678-1234-567812345678")
