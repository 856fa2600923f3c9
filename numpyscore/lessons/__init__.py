"""The course: eight lessons of exercises whose answers are judged. `numpyscore learn` is its command."""

from . import by_parts, energy, noise, sampling, score, trace, two_terms, walls
from .exercise import Exercise, Lesson, numbered

CHAPTERS = (energy, score, by_parts, two_terms, trace, walls, noise, sampling)
LESSONS: tuple[Lesson, ...] = tuple(numbered(chapter.LESSON) for chapter in CHAPTERS)
EXERCISES: dict[str, tuple[Lesson, Exercise]] = {e.key: (lesson, e) for lesson in LESSONS for e in lesson.exercises}

__all__ = ["EXERCISES", "LESSONS", "Exercise", "Lesson"]
