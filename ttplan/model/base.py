"""The base class of all stored and reported models, and field types that many of them share."""

from __future__ import annotations

from datetime import UTC
from typing import Annotated, Any, ClassVar

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
)

from ttplan.model.audit import Actor


class FrozenModel(BaseModel):
    """An immutable model that refuses unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class LenientModel(BaseModel):
    """An immutable model that ignores unknown fields."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class OmitsDefaults(BaseModel):
    """Leaves the fields of `OMITTED` out of what it writes while they have their default.

    Fields that were added later must not change the bytes of what was stored or signed before.
    """

    OMITTED: ClassVar[frozenset[str]] = frozenset()

    @model_serializer(mode="wrap")
    def _without_defaults(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        fields = type(self).model_fields
        omitted = {
            name
            for name in self.OMITTED
            if getattr(self, name) == fields[name].get_default(call_default_factory=True)
        }
        written: dict[str, Any] = handler(self)
        return {name: value for name, value in written.items() if name not in omitted}


Hex64 = Annotated[str, Field(pattern=r"\A[0-9a-f]{64}\z")]
NonEmptyText = Annotated[str, Field(strict=True, min_length=1)]
UtcDatetime = Annotated[AwareDatetime, AfterValidator(lambda time: time.astimezone(UTC))]
"""A time in UTC. A time without a zone is refused."""
ActorField = Annotated[Actor, Field(discriminator="type")]
"""An actor, chosen by its `type`."""
