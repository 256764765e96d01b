"""Django's settings, built from `configuration`. Importing them without any variable set is safe:
nothing is kept, nothing is served."""

import os
import secrets
from typing import Any

from jobrunner.controller import configuration, database, secret_key

CONFIGURATION = configuration.from_environment(os.environ)

DEBUG = CONFIGURATION.debug
SECRET_KEY = (
    secret_key.read(CONFIGURATION.key_file)
    if CONFIGURATION.key_file is not None and CONFIGURATION.key_file.exists()
    else secrets.token_urlsafe(64)
)
ALLOWED_HOSTS = list(CONFIGURATION.hosts)
AUTH_USER_MODEL = "accounts.Person"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.staticfiles",
    "jobrunner.controller.accounts",
    "jobrunner.controller.projects",
    "jobrunner.controller.jobs",
    "jobrunner.controller.feed",
]
MIDDLEWARE = [
    "jobrunner.controller.api.json_errors.json_errors",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "jobrunner.controller.feed.database_away.DatabaseAway",
]
ROOT_URLCONF = "jobrunner.controller.urls"
APPEND_SLASH = False

DATABASES: dict[str, dict[str, Any]] = {"default": database.settings_of(CONFIGURATION)}

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {"context_processors": []},
    }
]
STATIC_URL = "/static/"
WHITENOISE_USE_FINDERS = True
WHITENOISE_AUTOREFRESH = False
WHITENOISE_ALLOW_ALL_ORIGINS = False
WHITENOISE_MAX_AGE = 3600

LANGUAGE_CODE = "en-gb"
USE_I18N = False
TIME_ZONE = "UTC"
USE_TZ = True

DATA_UPLOAD_MAX_MEMORY_SIZE = 64 * 1024
SECURE_CONTENT_TYPE_NOSNIFF = True
LOGGING_CONFIG = None
