"""How an idle `serve_forever()` waits without trio."""
