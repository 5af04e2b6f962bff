"""python -m broker_deploy deploy|delete"""

from broker_deploy.command import main

main()
