"""Never run: mypy reads it. Each use that must be refused carries an ignore, and an ignore that is not needed is an error."""
