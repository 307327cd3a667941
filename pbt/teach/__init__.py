"""Views for learners: what every stage of the compiler made of a script."""
