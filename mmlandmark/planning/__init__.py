"""A config from a data set and a time: fingerprint, rules, measured speed."""

from mmlandmark.planning.choice import Choice, OpenQuestion
from mmlandmark.planning.data_source import DataSource, find_data
from mmlandmark.planning.fingerprint import DataView, Fingerprint, read_fingerprint
from mmlandmark.planning.network_choices import decide_network
from mmlandmark.planning.one_shot import (
    OneShotAnswers,
    OneShotPlan,
    decide_one_shot,
    is_one_shot_planned,
    measure_one_shot,
    read_one_shot,
)
from mmlandmark.planning.plan_folder import check_folder, is_planned, measure_plan, write_plan
from mmlandmark.planning.planner import Answers, Plan, read_data
from mmlandmark.planning.report import assumptions, decisions, questions
from mmlandmark.planning.template import Template, read_template
from mmlandmark.planning.unlabelled import UnlabelledImages, read_unlabelled

__all__ = [
    "Answers",
    "Choice",
    "DataSource",
    "DataView",
    "Fingerprint",
    "OneShotAnswers",
    "OneShotPlan",
    "OpenQuestion",
    "Plan",
    "Template",
    "UnlabelledImages",
    "assumptions",
    "check_folder",
    "decide_network",
    "decide_one_shot",
    "decisions",
    "find_data",
    "is_one_shot_planned",
    "is_planned",
    "measure_one_shot",
    "measure_plan",
    "questions",
    "read_data",
    "read_fingerprint",
    "read_one_shot",
    "read_template",
    "read_unlabelled",
    "write_plan",
]
