"""How much hypothesis tries: little by default, much with HYPOTHESIS_PROFILE=thorough."""

import os

from hypothesis import HealthCheck, settings

_CALM = [HealthCheck.too_slow, HealthCheck.data_too_large]

pytest_plugins = ("tests.brokers.kafka.serving",)

settings.register_profile("default", deadline=None, max_examples=60, suppress_health_check=_CALM)
settings.register_profile("thorough", deadline=None, max_examples=500, suppress_health_check=_CALM)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))
