"""What is loaded."""

from fastapi import APIRouter, Request

from service.answers import ModelAnswer, ModelsAnswer
from service.errors import UnknownModelError
from service.exchange import state_of
from service.openapi import problems

router = APIRouter(tags=["models"])


@router.get("/v1/models", summary="The loaded models", responses=problems(414, 503))
async def models(request: Request) -> ModelsAnswer:
    """What each offers, the default first."""
    return ModelsAnswer(models=_described(request))


@router.get("/v1/models/{name}", summary="One loaded model", responses=problems(404, 414, 503))
async def model(request: Request, name: str) -> ModelAnswer:
    """One model, described as in the list of all."""
    described = _described(request)
    for answer in described:
        if answer.name == name:
            return answer
    loaded = ", ".join(answer.name for answer in described)
    raise UnknownModelError(f"The model {name!r} is not loaded; loaded: {loaded}.")


def _described(request: Request) -> list[ModelAnswer]:
    fleet = state_of(request)["fleet"]
    return [
        ModelAnswer.of(spec, tile=tile, default=spec.name == fleet.default)
        for spec, tile in fleet.specs()
    ]
