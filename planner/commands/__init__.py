"""What the commands of ``planner.cli`` do: one file a command or family of commands."""
