"""Surveys: many nights, one dataset, and the same star with one ID in all of them."""

from opticam_dask.survey.ledger import read_ledger
from opticam_dask.survey.options import SurveyOptions
from opticam_dask.survey.run import Survey, SurveyReport

__all__ = ["Survey", "SurveyOptions", "SurveyReport", "read_ledger"]
