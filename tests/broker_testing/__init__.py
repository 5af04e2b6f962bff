"""What the tests share: a browser without JavaScript, an ordinary client, and a broker to drive over HTTP."""
