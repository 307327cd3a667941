"""What user space shows: values as text, values as JSON, and where both are written."""
