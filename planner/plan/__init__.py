"""Plans: timetables, replay of orders into times, figures, files' content, verification."""
