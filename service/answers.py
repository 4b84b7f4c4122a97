"""The JSON that routes answer, as types: so that OpenAPI states what is really sent.

Knows nothing about requests.
"""

from typing import Any, Literal

from pydantic import BaseModel, Field

from service.labels import ModelSpec


class AttributeAnswer(BaseModel):
    """One label dimension."""

    name: str
    values: list[str]
    prior: list[float] = Field(description="Share of each value in the training set.")


class ModelAnswer(BaseModel):
    """One loaded model."""

    name: str
    default: bool = Field(description="Whether it answers where no model is named.")
    digest: str = Field(description="SHA-256 of the weights.")
    resolution: int = Field(description="Native side of a picture in pixels.")
    latent_dim: int = Field(description="Z: length of a latent vector.")
    attributes: list[AttributeAnswer]
    licence: str | None
    metrics: dict[str, Any] = Field(description="Measures of quality, from the model card.")
    engine: str = Field(description="What computes it, and how exactly.")
    tile: int = Field(description="Pictures computed in one step.")
    critic: bool = Field(description="Whether best_of can be asked of it.")

    @classmethod
    def of(cls, spec: ModelSpec, *, tile: int, default: bool) -> "ModelAnswer":
        """All that is known of a loaded model."""
        return cls(
            name=spec.name,
            default=default,
            digest=spec.digest,
            resolution=spec.resolution,
            latent_dim=spec.latent_dim,
            attributes=[
                AttributeAnswer(name=a.name, values=list(a.values), prior=list(a.prior))
                for a in spec.space.attributes
            ],
            licence=spec.licence,
            metrics=dict(spec.metrics),
            engine=spec.engine,
            tile=tile,
            critic=bool(spec.critic),
        )


class ModelsAnswer(BaseModel):
    """The loaded models."""

    models: list[ModelAnswer]


class AliveAnswer(BaseModel):
    """The process lives."""

    status: Literal["alive"] = "alive"


class ReadyAnswer(BaseModel):
    """Pictures can be had now."""

    status: Literal["ready"] = "ready"


class LoadAnswer(BaseModel):
    """A checkpoint was loaded and serves from now on."""

    model: ModelAnswer
    seconds: float = Field(description="What loading and warming up took.")
    processes: int = Field(description="Processes that have loaded it: all behind this address.")


class InvalidParameterAnswer(BaseModel):
    """One thing that is wrong with a request."""

    parameter: str
    detail: str
    allowed: list[str] | None = None


class ProblemAnswer(BaseModel):
    """A problem document (RFC 9457)."""

    type: str = Field(examples=["urn:visage:problem:invalid-parameters"])
    title: str
    status: int
    detail: str
    errors: list[InvalidParameterAnswer] | None = None
