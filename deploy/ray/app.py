"""Ray Serve: `serve run deploy.ray.app:build` puts one replica of the service on each GPU.

Each replica is the whole service with its own queue and batcher (deploy/ray/replica.py); Ray
starts, counts and replaces them, and HAProxy, which comes with Ray, brings them their requests.
Another checkpoint, or any other setting, is another version: Ray replaces the replicas one after
the other. docs/scaling.md says how, and what cluster.env is for.
"""

import os
from collections.abc import Callable

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from ray import serve
from ray.serve.config import AutoscalingConfig

from deploy.ray.replica import ReplicaApp
from service.errors import SettingsError
from service.fleet import LoadEngine
from service.log_setup import configure_logging
from service.server import engine_loader
from service.settings import Settings, load_settings

MakeLoadEngine = Callable[[Settings], LoadEngine]


class Options(BaseModel):
    """`args` of the Serve config; what is not known is refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    settings: dict[str, str | int | float | bool] = Field(
        {}, description="Of the service, as in docs/settings.md; they go before the environment."
    )
    gpus: float = Field(0, ge=0, description="GPUs of a replica: 1, or 0 to compute on the CPU.")
    cpus: float = Field(1, gt=0, description="CPU cores of a replica; its engine's threads.")
    min_replicas: int = Field(1, ge=1)
    max_replicas: int = Field(1, ge=1)
    target_ongoing_requests: float = Field(
        16, gt=0, description="Requests that a replica should have; above, there will be more."
    )
    upscale_delay: float = Field(10, ge=0, description="Seconds of it before there are more.")
    downscale_delay: float = Field(300, ge=0, description="Seconds before there are fewer.")
    surge_percent: int = Field(
        50,
        ge=0,
        le=100,
        description="New replicas beside the old ones in an update; 0 where no GPU is to spare.",
    )


def build(options: Options) -> serve.Application:
    """What the Serve config's `import_path` names."""
    return application(options, engine_loader)


def application(options: Options, make_load_engine: MakeLoadEngine) -> serve.Application:
    """`options` made into a deployment; the engine is whatever `make_load_engine` gives."""
    settings = settings_of(options)  # a mistake is told before any replica starts

    def whole_service() -> ReplicaApp:
        require_haproxy()
        here = settings_of(options)  # in this replica's environment
        configure_logging(level=here.log_level, style=here.log_format)
        return ReplicaApp(here, make_load_engine(here))

    @serve.deployment(
        ray_actor_options={"num_cpus": options.cpus, "num_gpus": options.gpus},
        # The replica's own queue decides who may wait: Ray's must never be the narrower one.
        max_ongoing_requests=4 * settings.queue_capacity,
        autoscaling_config=AutoscalingConfig(
            min_replicas=options.min_replicas,
            max_replicas=options.max_replicas,
            target_ongoing_requests=options.target_ongoing_requests,
            upscale_delay_s=options.upscale_delay,
            downscale_delay_s=options.downscale_delay,
        ),
        max_surge_percent=options.surge_percent,
        health_check_period_s=5,
        health_check_timeout_s=10,
        graceful_shutdown_timeout_s=settings.deadline + settings.drain_grace,
        graceful_shutdown_wait_loop_s=0.5,
    )
    @serve.ingress(whole_service)
    class Visage:
        app: ReplicaApp  # Ray's, once it has made it

        def check_health(self) -> None:
            self.app.check_health()

    return Visage.bind()


def settings_of(options: Options) -> Settings:
    """The service's, from `options` and then from VISAGE_ variables; SettingsError.

    Ray gives a replica a number of cores, but binds it to none: the engine is told how many.
    """
    from_environment = load_settings()
    given = dict(options.settings)
    if not from_environment.threads:
        given.setdefault("threads", max(1, int(options.cpus)))
    try:
        return Settings(**given)  # type: ignore[arg-type]
    except ValidationError as error:
        first = error.errors()[0]
        raise SettingsError(
            f"{'.'.join(str(part) for part in first['loc'])} in the Serve config's settings is not "
            f"usable: {first['msg']} (see docs/settings.md)"
        ) from None


def require_haproxy() -> None:
    """Ray's own proxy answers 500 for every request that a dead replica had."""
    if os.environ.get("RAY_SERVE_ENABLE_HA_PROXY") != "1":
        raise SettingsError(
            "Ray was started without the variables of deploy/ray/cluster.env, with which no "
            "request of a lost replica is lost: set them before `ray start` on every node"
        )
