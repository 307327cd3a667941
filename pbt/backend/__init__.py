"""Machine code: instructions chosen, registers allotted, the frame laid out, bytes written."""
