kill -TERM 4242
kubectl rollout restart deployment/shout
