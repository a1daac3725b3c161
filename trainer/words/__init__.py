"""What the starter's text side learns from before it sees products: words of five languages and a teacher's vectors."""
