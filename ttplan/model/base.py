"""The base class of all stored and reported models, and field types that many of them share."""

from __future__ import annotations

from datetime import UTC
from typing import Annotated

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field

from ttplan.model.audit import Actor


class FrozenModel(BaseModel):
    """An immutable model that refuses unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class LenientModel(BaseModel):
    """An immutable model that ignores unknown fields."""

    model_config = ConfigDict(frozen=True, extra="ignore")


Hex64 = Annotated[str, Field(pattern=r"\A[0-9a-f]{64}\z")]
NonEmptyText = Annotated[str, Field(strict=True, min_length=1)]
UtcDatetime = Annotated[AwareDatetime, AfterValidator(lambda time: time.astimezone(UTC))]
"""A time in UTC. A time without a zone is refused."""
ActorField = Annotated[Actor, Field(discriminator="type")]
"""An actor, chosen by its `type`."""
