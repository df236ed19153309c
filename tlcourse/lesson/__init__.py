"""What a notebook needs around the science: claims, budget, figures, tables, widgets, source display."""

from tlcourse.lesson.session import BudgetExceeded, ClaimFailed, Lesson, start

__all__ = ["BudgetExceeded", "ClaimFailed", "Lesson", "start"]
