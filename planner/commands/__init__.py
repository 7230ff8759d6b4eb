"""What the commands of ``planner.commands.app`` do: one file a command or family of commands."""
